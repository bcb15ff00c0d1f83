"""Less exact policies stand beside the exact one if they drive as it does, and nothing stands there if they do not."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from rich.console import Console

import agent.export.export
import agent.export.variants
from agent.algorithms.ddpg import DDPGConfig
from agent.checkpoint import Worth, flat_weights, save_actor
from agent.export.export import ExportConfig, export
from agent.export.parity import moments
from agent.export.precision import Moments, less_exact
from agent.export.variants import Report, export_variants
from agent.training.learner import make_algorithm
from deploy.policy import OnnxPolicy
from lapwing import main
from perception.graph import OPSET
from tests.agent.fakes import FACTS

FEW = {"parity_frames": 20, "held_out": 2}


@pytest.fixture
def run(exported, tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(agent.export.variants, "CALIBRATION", 40)
    return shutil.copytree(exported, tmp_path / "run")


def export_few(run: Path, *variants: str) -> tuple[bool, str]:
    """What came of it, by few frames and roads, and what was said."""
    with (console := Console(width=200)).capture() as capture:
        whole = export_variants(ExportConfig(run, run / "policy.onnx", variants=variants, **FEW), console)
    return whole, capture.get()


def report_of(run: Path) -> Report:
    return msgspec.json.decode((run / "policy.parity.json").read_bytes(), type=Report)


def test_both_variants_answer_as_the_original_and_all_of_it_is_reported(run):
    whole, said = export_few(run, "int8", "float16")
    assert whole, said
    original = OnnxPolicy.load(run / "policy.onnx")
    given = moments(FACTS, original, "held_out", 10, seed=7)
    for name, file in (("int8", "policy.int8.onnx"), ("float16", "policy.fp16.onnx")):
        variant = OnnxPolicy.load(run / file)
        assert variant.spec == msgspec.structs.replace(original.spec, precision=name, original=original.id)
        for image, state in zip(*given, strict=True):
            found, expected = variant.answer(image, state), original.answer(image, state)
            assert found.action == pytest.approx(expected.action, abs=0.05)
            assert found.novelty == pytest.approx(expected.novelty, rel=0.05)
            assert found.value == pytest.approx(expected.value, abs=0.1)
        check_graph(onnx.load(run / file), {"int8": TensorProto.INT8, "float16": TensorProto.FLOAT16}[name])
        assert (run / file).stat().st_size < 0.7 * (run / "policy.onnx").stat().st_size
    check_report(report_of(run), original.id)
    for line in ("steering error", "disengagements", "outcome"):
        assert f"│ {line} " in said
        assert f"| {line} |" in (run / "policy.parity.md").read_text()


def check_graph(graph: onnx.ModelProto, kind: int) -> None:
    assert [(entry.domain, entry.version) for entry in graph.opset_import if not entry.domain] == [("", OPSET)]
    assert kind in {tensor.data_type for tensor in graph.graph.initializer}
    assert [entry.key for entry in graph.metadata_props] == ["lapwing"]


def check_report(report: Report, original: str) -> None:
    int8, float16 = report.variants
    assert (int8.precision, float16.precision) == ("int8", "float16")
    assert (report.original.id, report.frames, report.roads) == (original, 20, 2)
    for found in report.variants:
        assert 0 < found.steering.mean <= found.steering.p99 <= found.steering.max
        assert found.measured.drove.distance_m > 0
    assert float16.steering.max < int8.steering.max
    assert report.original.drove.distance_m > 0


def constant(graph: bytes, name: str, original: str, calibration: Moments) -> bytes:
    """Calibrated on frames that are all the same grey."""
    grey = Moments(np.full_like(calibration.image, 128), np.zeros_like(calibration.state))
    return less_exact(graph, name, original, grey)


def perturbed(graph: bytes, name: str, original: str, calibration: Moments) -> bytes:
    """Half of the weights of the first convolution are lost."""
    model = onnx.load_from_string(graph)
    weight = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    values = onnx.numpy_helper.to_array(weight).copy()
    values[::2] = 0
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    return less_exact(model.SerializeToString(), name, original, calibration)


def test_a_spoiled_variant_is_refused_in_one_line_and_is_not_there(run, monkeypatch):
    monkeypatch.setattr(agent.export.variants, "less_exact", perturbed)
    (run / "policy.int8.onnx").write_text("of an earlier policy")
    before = (run / "policy.onnx").read_bytes()
    whole, said = export_few(run, "int8")
    assert not whole
    (line,) = [line for line in said.splitlines() if line.startswith("refused")]
    assert "policy.int8.onnx: steering is off by" in line
    assert not (run / "policy.int8.onnx").exists()
    assert not list(run.glob("*.part"))
    assert (run / "policy.onnx").read_bytes() == before
    (found,) = report_of(run).variants
    assert found.refused
    assert "int8 refused: steering" in (run / "policy.parity.md").read_text()


def test_the_command_says_by_its_exit_code_that_a_variant_was_refused(run, monkeypatch, capsys):
    monkeypatch.setattr(agent.export.variants, "less_exact", constant)
    monkeypatch.setattr(agent.export.export, "export", lambda *_: 0.0)  # policy.onnx is there
    options = ["--parity-frames", "20", "--held-out", "1", "--variants", "int8"]
    assert main(["export", "--run", str(run), "--out", str(run / "policy.onnx"), *options]) == 1
    assert f"refused {run}/policy.int8.onnx: steering is off by" in capsys.readouterr().out
    assert not (run / "policy.int8.onnx").exists()


@pytest.mark.slow
def test_a_policy_that_sees_by_itself_has_variants_too(tmp_path, monkeypatch):
    monkeypatch.setattr(agent.export.variants, "CALIBRATION", 40)
    facts = msgspec.structs.replace(FACTS, pixels=True, obs_size=64 * 64 * 3 + 6)
    torch.manual_seed(0)
    algorithm = make_algorithm("ddpg", DDPGConfig(hidden=(16,)), facts)
    worth = Worth(algorithm.config, flat_weights(algorithm.value))
    save_actor(tmp_path / "actor.safetensors", algorithm.policy, facts, worth)
    export(ExportConfig(tmp_path, tmp_path / "policy.onnx"), Console(quiet=True))
    whole, said = export_few(tmp_path, "int8", "float16")
    assert whole, said
    for found in report_of(tmp_path).variants:
        assert found.novelty is None
        assert 0 < found.value.max < 0.01
