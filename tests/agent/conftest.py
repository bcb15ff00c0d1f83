"""Tests of learning run on one thread each, as the processes do."""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
import zmq

from agent.channel import ActorEnd, Addresses, LearnerEnd, local_addresses
from perception.episodes import RecordConfig, record
from tests.agent.runs import write_encoder


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
