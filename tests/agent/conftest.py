"""Tests of learning run on one thread each, as the processes do."""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
import zmq
from rich.console import Console

from agent.algorithms.ddpg import DDPG, DDPGConfig
from agent.checkpoint import Worth, flat_weights, load_actor, save_actor
from agent.export.export import ExportConfig, export
from agent.line.channel import ActorEnd, Addresses, LearnerEnd, local_addresses
from perception.encoders import Familiar, load_encoder, save_encoder
from perception.episodes import RecordConfig, record
from tests.agent.runs import write_encoder, write_run


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="lapwing-test-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    """A few random episodes."""
    folder = tmp_path_factory.mktemp("data") / "episodes"
    record(RecordConfig(out=folder, frames=60))
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Path:
    """A run that knows all there is to know, and its policy.onnx; its actions say something."""
    run = write_run(tmp_path_factory.mktemp("exported") / "train")
    actor, facts = load_actor(run / "actor.safetensors")
    settings = DDPGConfig(hidden=(16,))
    value = DDPG(settings, facts.obs_size, facts.action_size).value
    encoder = load_encoder(run / "vae.safetensors")
    with torch.no_grad():
        for parameter in (*actor.body[-1].parameters(), *value.body[-1].parameters()):
            parameter.mul_(100)
        for parameter in encoder.eye.parameters():
            parameter.mul_(
                6**0.5
            )  # so that no layer shrinks what tells two images apart: He 2015 instead of torch's own
    save_actor(run / "actor.safetensors", actor, facts, Worth(settings, flat_weights(value)))
    save_encoder(run / "vae.safetensors", encoder, Familiar(0.01, 0.02, 0.05))
    export(ExportConfig(run, run / "policy.onnx"), Console(quiet=True))
    return run


@pytest.fixture(scope="session")
def encoder(tmp_path_factory) -> Path:
    """A VAE that has learned nothing."""
    return write_encoder(tmp_path_factory.mktemp("vae") / "vae.safetensors")


@pytest.fixture
def addresses(socket_folder) -> Addresses:
    return local_addresses(str(socket_folder))


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    with zmq.Context() as context:
        yield context


@pytest.fixture
def learner(context, addresses) -> Iterator[LearnerEnd]:
    with closing(LearnerEnd(context, addresses)) as learner:
        yield learner


@pytest.fixture
def actor(context, addresses) -> Iterator[ActorEnd]:
    with closing(ActorEnd(context, addresses)) as actor:
        yield actor
