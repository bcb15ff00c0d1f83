"""A variant that answers or drives worse than its original is found out, and one that does not is left alone."""

import msgspec
import numpy as np
import pytest

from agent.export.parity import Drove, Errors, Measured, Told, chance, compared, errors, infer_us, moments, seeing
from deploy.policy import OnnxPolicy
from tests.agent.fakes import FACTS
from tests.deploy.policies import SPEC, constant_policy, echo_policy

DROVE = Drove(5000.0, 0, None, 2.5, 0.01)


def told(steering: float = 0.0, novelty: float = 0.5, value: float = 4.0, n: int = 100) -> Told:
    action = np.tile(np.array([steering, 0.5], np.float32), (n, 1))
    return Told(action, np.full(n, novelty), np.full(n, value))


def judge(found: Told, expected: Told, drove: Drove = DROVE, original: Drove = DROVE):
    before = Measured("0", 2000.0, 400.0, original)
    return compared("int8", Measured("1", 1000.0, 300.0, drove), before, found, expected)


def test_errors_are_absolute_and_p99_is_one_that_occurred():
    expected = np.arange(200.0)
    found = expected + np.where(np.arange(200) < 3, -0.5, 0.1)
    assert errors(found, expected) == Errors(pytest.approx(0.106), pytest.approx(0.5), pytest.approx(0.5))
    assert errors(np.zeros(2), np.zeros(2)) == Errors(0, 0, 0)


def test_what_is_no_number_is_infinitely_far_off():
    assert errors(np.array([0.0, np.nan]), np.zeros(2)).max == np.inf
    assert judge(told(np.nan), told()).refused


@pytest.mark.parametrize(
    ("before", "after", "p"),
    [(0, 0, 1.0), (0, 1, 0.5), (0, 4, 1 / 16), (0, 5, 1 / 32), (1, 2, 0.5), (2, 1, 7 / 8), (3, 0, 1.0)],
)
def test_the_chance_of_so_many_disengagements_is_that_of_so_many_heads(before, after, p):
    assert chance(before, after) == p


def test_a_variant_that_is_as_good_is_not_refused():
    found = judge(told(0.01, 0.55, 4.1), told())
    assert found.refused == ()
    assert found.steering.mean == pytest.approx(0.01)
    assert (found.novelty.max, found.value.max) == (pytest.approx(0.05), pytest.approx(0.1))
    assert (found.speed, found.disagreement) == (Errors(0, 0, 0), 0)
    assert found.time_ratio == 0.75


def test_steering_that_is_off_everywhere_is_refused():
    (reason,) = judge(told(0.021), told()).refused
    assert reason == "steering is off by 0.021 (p99 0.021), expected at most 0.02 (0.1)"


def test_steering_that_is_far_off_now_and_then_is_refused():
    found = told()
    found.action[:2, 0] = 0.2  # mean 0.004
    assert "p99 0.200" in judge(found, told()).refused[0]


def test_a_variant_that_calls_other_frames_unfamiliar_is_refused():
    found = told()
    found.novelty[:3] = 1.1
    (reason,) = judge(found, told()).refused
    assert reason == "novelty says otherwise on 3.0% of frames, expected at most 2%"
    found.novelty[2] = 0.9
    assert judge(found, told()).refused == ()


@pytest.mark.parametrize(("before", "after", "worse"), [(0, 4, False), (0, 5, True), (10, 19, False), (10, 20, True)])
def test_disengagements_count_against_it_where_chance_does_not_explain_them(before, after, worse):
    original, drove = (msgspec.structs.replace(DROVE, disengagements=n) for n in (before, after))
    refused = judge(told(), told(), drove, original).refused
    assert bool(refused) is worse
    assert all(f"{after} disengagements, the original {before}" in reason for reason in refused)


def test_a_variant_that_stands_still_is_refused_though_it_never_leaves_the_lane():
    refused = judge(told(), told(), Drove(12.0, 0, None, 0.01, 0.0)).refused
    assert [reason.split()[0] for reason in refused] == ["distance_m", "mean_speed_mps"]


def test_a_policy_that_tells_neither_novelty_nor_value_is_compared_by_its_actions():
    bare = told()._replace(novelty=None, value=None)
    found = judge(bare, bare)
    assert (found.novelty, found.value, found.disagreement, found.refused) == (None, None, None, ())


def test_frames_are_those_of_roads_of_that_kind_while_it_drives(tmp_path):
    policy = OnnxPolicy.load(constant_policy(tmp_path / "policy.onnx", 0.0, 0.5))
    one, same, out, other = (
        moments(FACTS, policy, roads, 12, seed)
        for roads, seed in (("held_in", 0), ("held_in", 0), ("held_out", 0), ("held_in", 1))
    )
    assert (one.image.shape, one.image.dtype) == ((12, 64, 64, 3), np.uint8)
    assert (one.state.shape, one.state.dtype) == ((12, 6), np.float32)
    assert np.array_equal(one.image, same.image)
    assert np.array_equal(one.state, same.state)
    assert not np.array_equal(one.image[0], out.image[0])
    assert not np.array_equal(one.image[0], other.image[0])
    assert one.state[0].tolist() == [0, 0, 0, -1, 0, -1]  # it stands, as it was told
    assert one.state[:, 0].max() > 0.1


def test_the_file_itself_drives_by_the_pixels_that_it_is_shown(tmp_path):
    policy = OnnxPolicy.load(echo_policy(tmp_path / "policy.onnx"))
    obs = np.zeros(64 * 64 * 3 + SPEC.state_size, np.float32)
    obs[0], obs[64 * 64 * 3] = 51, -0.25
    assert seeing(policy)(obs).tolist() == pytest.approx([0.2, -0.25])


def test_a_car_whose_policy_gives_no_number_stands(tmp_path):
    policy = OnnxPolicy.load(constant_policy(tmp_path / "policy.onnx", np.nan, 0.5))
    assert seeing(policy)(np.zeros(64 * 64 * 3 + SPEC.state_size, np.float32)).tolist() == [0, -1]


def test_every_policy_has_a_time(tmp_path):
    policies = [OnnxPolicy.load(constant_policy(tmp_path / f"{i}.onnx", i, 0.0)) for i in range(2)]
    assert all(us > 0 for us in infer_us(policies, moments(FACTS, policies[0], "held_out", 2, 0)))
