"""One ONNX file computes what torch computes, for any number of frames, or is not written."""

import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from rich.console import Console

import agent.export.export
from agent.checkpoint import load_actor, load_policy, save_actor
from agent.export.export import CameraPolicy, ExportConfig, ExportError, export
from deploy.dashboard.rebuild import Eyes
from deploy.policy import OnnxPolicy
from perception.encoders import load_encoder, save_encoder
from perception.sight import Pixels
from tests.agent.fakes import FACTS
from tests.agent.runs import real_frames


@pytest.fixture(scope="module")
def run(exported):
    """A run and its exported policy."""
    return exported


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return real_frames(8)


def torch_actions(run, image: np.ndarray, state: np.ndarray) -> np.ndarray:
    actor, _ = load_actor(run / "actor.safetensors")
    policy = CameraPolicy(load_encoder(run / "vae.safetensors"), actor)
    with torch.no_grad():
        return policy(torch.from_numpy(image), torch.from_numpy(state))[0].numpy()


@pytest.mark.parametrize("batch", [1, 2, 5, 8])
def test_onnx_agrees_with_torch_on_real_frames(run, frames, batch):
    image, state = frames[:batch], np.random.default_rng(batch).uniform(-1, 1, (batch, 6)).astype(np.float32)
    session = onnxruntime.InferenceSession(run / "policy.onnx", providers=["CPUExecutionProvider"])
    (action,) = session.run(["action"], {"image": image, "state": state})
    assert action.shape == (batch, 2)
    assert np.abs(action - torch_actions(run, image, state)).max() < 1e-4
    assert np.abs(action).max() > 1e-2


def test_the_car_reads_it_and_gets_the_same_action(run, frames):
    policy, state = OnnxPolicy.load(run / "policy.onnx"), np.linspace(-1, 1, 6, dtype=np.float32)
    for image in frames:
        assert policy(image, state) == pytest.approx(torch_actions(run, image[None], state[None])[0], abs=1e-4)


def test_the_car_reads_what_it_was_trained_for(run):
    spec = OnnxPolicy.load(run / "policy.onnx").spec
    assert (spec.run, spec.period_s, spec.history) == ("test", 0.1, 2)
    assert (spec.image_height, spec.image_width, spec.state_size) == (64, 64, 6)
    assert spec.top_speed_mps == pytest.approx(2.77778, abs=1e-4)
    assert spec.max_steering_rad == pytest.approx(0.5236, abs=1e-4)
    assert spec.max_steering_rate_radps == 0.8


def test_it_tells_what_the_motors_would_make_of_the_action_is_worth(run, frames):
    policy, (actor, _, value) = OnnxPolicy.load(run / "policy.onnx"), load_policy(run / "actor.safetensors")
    state = np.array([0.3, 0.1, -0.9, 0.5, 0.2, 0.4], np.float32)  # steering was executed as -0.9 last
    for image in frames:
        with torch.no_grad():
            z = load_encoder(run / "vae.safetensors").encode_mean(torch.from_numpy(image[None]))
            seen = torch.cat([z, torch.from_numpy(state[None])], dim=1)
            action = actor(seen)
            assert action[0, 0] > -0.7  # further off than 0.8 rad/s reach in 0.1 s: 0.08 of 0.5236 rad
            executed = torch.tensor([[-0.9 + 0.08 / 0.5235988, action[0, 1]]])
            expected, asked = value(seen, executed).item(), value(seen, action).item()
        assert policy.answer(image, state).value == pytest.approx(expected, abs=1e-4)
        assert abs(expected - asked) > 1e-3


def test_a_run_that_knows_neither_critic_nor_quantiles_is_exported_without_them(run, frames, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    actor, facts = load_actor(run / "actor.safetensors")
    save_actor(copy / "actor.safetensors", actor, facts)
    save_encoder(copy / "vae.safetensors", load_encoder(run / "vae.safetensors"))
    export(ExportConfig(copy, copy / "policy.onnx"), Console(quiet=True))
    state = np.zeros(6, np.float32)
    old, new = (OnnxPolicy.load(folder / "policy.onnx").answer(frames[0], state) for folder in (copy, run))
    assert (old.novelty, old.value) == (None, None)
    assert old.action == pytest.approx(new.action, abs=1e-6)


def test_the_latent_and_the_state_both_reach_the_action(run, frames):
    policy, state = OnnxPolicy.load(run / "policy.onnx"), np.zeros(6, np.float32)
    assert not np.array_equal(policy(frames[0], state), policy(frames[1], state))
    assert not np.array_equal(policy(frames[0], state), policy(frames[0], state + 0.5))


@pytest.mark.parametrize("error", [1e-3, np.nan])
def test_a_graph_that_computes_something_else_is_not_written(run, tmp_path, monkeypatch, error):
    model = onnx.load(run / "policy.onnx")
    (bias,) = [tensor for tensor in model.graph.initializer if tensor.name == "actor.body.3.bias"]
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(error), bias.name))
    monkeypatch.setattr(agent.export.export, "to_onnx", lambda *_: model)
    out = tmp_path / "out" / "policy.onnx"
    with pytest.raises(ExportError, match=r"policy\.onnx") as caught:
        export(ExportConfig(run, out), Console(quiet=True))
    assert caught.value.exit_code == 2
    assert list(tmp_path.rglob("*.onnx*")) == []


def test_an_encoder_that_knows_what_it_is_used_to_tells_the_novelty(run, frames):
    weights, state = load_encoder(run / "vae.safetensors"), np.zeros(6, np.float32)
    policy = OnnxPolicy.load(run / "policy.onnx")
    for image in frames:
        with torch.no_grad():
            seen = torch.from_numpy(image[None])
            error = (weights.reconstruct(seen) - weights.seen(seen)).square().mean().item()
        assert policy.answer(image, state).novelty == pytest.approx(error / 0.05, rel=1e-4)


def test_eyes_rebuild_what_the_encoder_keeps_of_an_image(run, frames, tmp_path):
    export(ExportConfig(run, tmp_path / "policy.onnx", eyes=True), Console(quiet=True))
    eyes, encoder = Eyes(tmp_path / "eyes.onnx"), load_encoder(run / "vae.safetensors")
    assert eyes.spec == OnnxPolicy.load(run / "policy.onnx").spec
    for image in frames:
        with torch.no_grad():
            pixels = encoder.reconstruct(torch.from_numpy(image[None]))[0].permute(1, 2, 0).numpy()
        rebuilt = eyes(image)
        assert (rebuilt.dtype, rebuilt.shape) == (np.uint8, pixels.shape)
        assert np.abs(rebuilt - np.clip(pixels, 0, 1) * 255).max() <= 1


def test_a_policy_that_sees_pixels_has_no_eyes(run, tmp_path, monkeypatch):
    blind = CameraPolicy(Pixels(), torch.nn.Identity())
    monkeypatch.setattr(agent.export.export, "load", lambda _: (blind, FACTS))
    with pytest.raises(ExportError, match="expected no --eyes"):
        export(ExportConfig(run, tmp_path / "policy.onnx", eyes=True), Console(quiet=True))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_beside_the_file(run):
    assert sorted(path.name for path in run.iterdir()) == [
        "actor.safetensors",
        "episodes.csv",
        "policy.onnx",
        "vae.onnx",
        "vae.safetensors",
    ]
