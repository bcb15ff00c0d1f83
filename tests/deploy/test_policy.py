"""An ONNX policy is what its metadata says, or a PolicyError tells why not."""

import dataclasses

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from deploy.policy import OnnxPolicy
from deploy.policy_spec import PolicyError
from deploy.vehicles import VehicleSpec
from tests.deploy.policies import IMAGE, SPEC, STATE, echo_policy

VEHICLE = VehicleSpec(64, 64, 2.7778, 0.5236, 0.8)


@pytest.mark.parametrize("batch", ["batch", 1])
def test_a_policy_sees_the_image_and_the_state_it_is_given(tmp_path, batch):
    policy = OnnxPolicy.load(echo_policy(tmp_path / "policy.onnx", batch=batch))
    image, state = IMAGE.copy(), STATE.copy()
    image[0, 0, 0], state[0] = 51, -0.25
    action = policy(image, state)
    assert action.dtype == np.float32
    assert action.tolist() == pytest.approx([0.2, -0.25])
    assert policy.spec == SPEC


def telling(path, name: str, keepdims: int = 0):
    """An echo policy that also tells the greatest number of the state under that name."""
    model = onnx.load(echo_policy(path))
    model.graph.node.append(helper.make_node("ReduceMax", ["state"], [name], axes=[1], keepdims=keepdims))
    shape = ["batch", 1] if keepdims else ["batch"]
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    onnx.save(model, path)
    return path


def test_what_a_policy_tells_beside_the_action_is_in_its_answer(tmp_path):
    state = np.array([0.1, 0.2, 3.5, 0, 0, 0], np.float32)
    action, novelty, value = OnnxPolicy.load(telling(tmp_path / "policy.onnx", "value")).answer(IMAGE, state)
    assert (action.tolist(), novelty, value) == (pytest.approx([0, 0.1]), None, 3.5)
    *_, novelty, value = OnnxPolicy.load(telling(tmp_path / "policy.onnx", "novelty")).answer(IMAGE, state)
    assert (novelty, value) == (3.5, None)


@pytest.mark.parametrize("name", ["value", "novelty", "colour"])
def test_what_it_tells_in_another_form_or_of_something_unknown_is_refused(tmp_path, name):
    with pytest.raises(PolicyError, match=name):
        OnnxPolicy.load(telling(tmp_path / "policy.onnx", name, keepdims=1))


def test_the_id_follows_the_content_and_not_the_name(tmp_path):
    first = OnnxPolicy.load(echo_policy(tmp_path / "a.onnx"))
    same = OnnxPolicy.load(echo_policy(tmp_path / "b.onnx"))
    other = OnnxPolicy.load(echo_policy(tmp_path / "c.onnx", msgspec.structs.replace(SPEC, run="other")))
    assert first.id == same.id != other.id


def test_a_policy_cut_off_anywhere_is_refused(tmp_path):
    whole = echo_policy(tmp_path / "policy.onnx").read_bytes()
    part = tmp_path / "part.onnx"
    for length in range(0, len(whole), 7):
        part.write_bytes(whole[:length])
        with pytest.raises(PolicyError, match=r"part\.onnx"):
            OnnxPolicy.load(part)


def test_a_file_that_is_no_policy_of_ours_is_refused_with_its_reason(tmp_path):
    path = tmp_path / "policy.onnx"
    with pytest.raises(PolicyError, match=r"cannot be read \(No such file or directory\)"):
        OnnxPolicy.load(path)
    with pytest.raises(PolicyError, match="cannot be read"):
        OnnxPolicy.load(tmp_path)
    path.write_text("these are not the bytes you are looking for")
    with pytest.raises(PolicyError, match="truncated or not an ONNX file"):
        OnnxPolicy.load(path)
    with pytest.raises(PolicyError, match="not exported by Lapwing"):
        OnnxPolicy.load(echo_policy(path, spec=None))
    with pytest.raises(PolicyError, match="metadata that this version cannot read"):
        OnnxPolicy.load(echo_policy(path, msgspec.structs.replace(SPEC, format=2)))


def test_a_graph_that_contradicts_its_metadata_is_refused(tmp_path):
    for spec in (msgspec.structs.replace(SPEC, image_width=80), msgspec.structs.replace(SPEC, history=3)):
        with pytest.raises(PolicyError, match="expected"):
            OnnxPolicy.load(echo_policy(tmp_path / "policy.onnx", spec))
    with pytest.raises(PolicyError, match="expected"):
        OnnxPolicy.load(echo_policy(tmp_path / "policy.onnx", batch=64))


def test_a_policy_fits_the_vehicle_it_was_trained_for():
    SPEC.check(VEHICLE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_height", 48),
        ("image_width", 96),
        ("top_speed_mps", 5.0),
        ("max_steering_rad", 0.4),
        ("max_steering_rate_radps", 2.0),
    ],
)
def test_a_policy_for_another_vehicle_names_the_difference(field, value):
    with pytest.raises(PolicyError, match=f"{field} is {value:g} on the vehicle, the policy expects"):
        SPEC.check(dataclasses.replace(VEHICLE, **{field: value}))
