"""Tiny ONNX policies whose answers are known, and what they are asked."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper

from deploy.policy_spec import PolicySpec

SPEC = PolicySpec(
    lapwing="0.1.0",
    run="test",
    image_height=64,
    image_width=64,
    period_s=0.1,
    top_speed_mps=2.7778,
    max_steering_rad=0.5236,
    max_steering_rate_radps=0.8,
    history=2,
)
IMAGE = np.zeros((64, 64, 3), np.uint8)
STATE = np.zeros(6, np.float32)


def echo_policy(
    path: Path,
    spec: PolicySpec | None = SPEC,
    batch: int | str = "batch",
    image: tuple[int, ...] = (64, 64, 3),
) -> Path:
    """An ONNX policy that answers (image[0, 0, 0] / 255, state[0]): its answer shows what it was given."""
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["pixels", "zeros", "ones", "axes"], ["pixel"]),
        helper.make_node("Flatten", ["pixel"], ["flat"]),
        helper.make_node("Div", ["flat", "white"], ["steering"]),
        helper.make_node("Slice", ["state", "zero", "one", "axis"], ["speed"]),
        helper.make_node("Concat", ["steering", "speed"], ["action"], axis=1),
    ]
    constants = {"zeros": [0] * 3, "ones": [1] * 3, "axes": [1, 2, 3], "zero": [0], "one": [1], "axis": [1]}
    initializers = [onnx.numpy_helper.from_array(np.array(v), k) for k, v in constants.items()]
    initializers.append(onnx.numpy_helper.from_array(np.array([255], np.float32), "white"))
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, *image]),
        helper.make_tensor_value_info("state", TensorProto.FLOAT, [batch, 6]),
    ]
    return _save(path, nodes, inputs, initializers, spec, batch)


def constant_policy(path: Path, steering: float, speed: float, spec: PolicySpec = SPEC) -> Path:
    """An ONNX policy that answers always the same."""
    nodes = [
        helper.make_node("Slice", ["state", "zero", "two", "axis"], ["part"]),
        helper.make_node("Mul", ["part", "none"], ["nothing"]),
        helper.make_node("Add", ["nothing", "answer"], ["action"]),
    ]
    constants = {"zero": [0], "two": [2], "axis": [1]}
    initializers = [onnx.numpy_helper.from_array(np.array(v), k) for k, v in constants.items()]
    floats = {"none": [0, 0], "answer": [steering, speed]}
    initializers += [onnx.numpy_helper.from_array(np.array(v, np.float32), k) for k, v in floats.items()]
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 64, 64, 3]),
        helper.make_tensor_value_info("state", TensorProto.FLOAT, ["batch", 6]),
    ]
    return _save(path, nodes, inputs, initializers, spec, "batch")


def seeing_policy(path: Path) -> Path:
    """An ONNX policy that looks at every pixel and at the state, and drives about straight at 1 m/s."""
    size = 64 * 64 * 3 + SPEC.state_size
    weights = np.random.default_rng(0).normal(0, 1e-4, (size, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "white"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["pixels"]),
        helper.make_node("Concat", ["pixels", "state"], ["seen"], axis=1),
        helper.make_node("Gemm", ["seen", "weights", "bias"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["action"]),
    ]
    constants = {"white": np.float32([255]), "weights": weights, "bias": np.float32([0.0, -0.3])}
    initializers = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 64, 64, 3]),
        helper.make_tensor_value_info("state", TensorProto.FLOAT, ["batch", 6]),
    ]
    return _save(path, nodes, inputs, initializers, SPEC, "batch")


def _save(path, nodes, inputs, initializers, spec, batch) -> Path:
    output = helper.make_tensor_value_info("action", TensorProto.FLOAT, [batch, 2])
    graph = helper.make_graph(nodes, "policy", inputs, [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if spec is not None:
        helper.set_model_props(model, {"lapwing": msgspec.json.encode(spec).decode()})
    onnx.save(model, path)
    return path
