"""A policy that would answer some frames by no action is found out before it drives."""

import numpy as np
import pytest

from deploy.policy import OnnxPolicy
from deploy.policy_server.self_test import action_of, self_test
from deploy.policy_spec import PolicyError
from tests.deploy.policies import IMAGE, STATE, constant_policy, echo_policy


def test_a_sound_policy_passes(tmp_path):
    self_test(OnnxPolicy.load(echo_policy(tmp_path / "p.onnx")), [(IMAGE, STATE)])


@pytest.mark.parametrize("answer", [(np.nan, 0.0), (0.0, -np.inf), (0.0, 1.01)])
def test_a_policy_that_answers_by_no_action_is_named_with_its_answer(tmp_path, answer):
    policy = OnnxPolicy.load(constant_policy(tmp_path / "p.onnx", *answer))
    with pytest.raises(PolicyError, match=rf"policy {policy.id} answers \[.*\] to a black frame, expected \[-1, 1\]"):
        self_test(policy)


def test_what_only_goes_wrong_on_a_frame_that_was_really_seen_is_found_there(tmp_path):
    policy = OnnxPolicy.load(echo_policy(tmp_path / "p.onnx"))
    self_test(policy)
    with pytest.raises(PolicyError, match="to a real frame"):
        self_test(policy, [(IMAGE, np.full(6, 1.5, np.float32))])


def test_rounding_at_the_end_of_the_range_is_no_fault():
    assert action_of(np.array([1.00005, -1.00005], np.float32)) == (1.0, -1.0)
    assert action_of(np.array([0.25, -0.5], np.float32)) == (0.25, -0.5)
    for bad in (1.001, float("nan"), float("-inf")):
        assert action_of(np.array([bad, 0], np.float32)) is None
