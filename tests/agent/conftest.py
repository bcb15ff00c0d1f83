"""Tests of learning run on one thread each, as the processes do."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

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
