"""A changed policy file is served once it has proved fit; anything else is refused, and nobody notices."""

import re
import shutil
from pathlib import Path
from threading import Event

import msgspec
import pytest

from deploy.policy import OnnxPolicy
from deploy.policy_server.reload import Reloader
from tests.deploy.policies import SPEC, constant_policy, echo_policy
from tests.deploy.serving import SOON_S


class Watched:
    """A policy file and its reloader, which looks when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.path = echo_policy(folder / "policy.onnx")
        self.first = OnnxPolicy.load(self.path)
        self.said: list[str] = []
        self.reloader = Reloader(self.first, self.path, list, self.said.append)
        self.reloader.look()

    def put(self, other: Path) -> OnnxPolicy | None:
        """Rename that file into its place and look."""
        other.rename(self.path)
        self.reloader.look()
        return self.reloader.take()


@pytest.fixture
def watched(tmp_path) -> Watched:
    return Watched(tmp_path)


def test_the_file_that_serves_already_is_not_served_anew(watched, tmp_path):
    assert watched.reloader.take() is None
    assert watched.put(Path(shutil.copy(watched.path, tmp_path / "copy.onnx"))) is None
    assert not watched.said
    assert not watched.reloader.counts


def test_another_policy_is_handed_over_once(watched, tmp_path):
    policy = watched.put(constant_policy(tmp_path / "new.onnx", 0.25, -0.5))
    assert policy is not None
    assert policy.id != watched.first.id
    assert watched.reloader.take() is None
    assert watched.said == [f"reloaded: policy {policy.id} of run test serves from now on"]
    assert watched.reloader.counts == {"accepted": 1}


def damaged(path: Path) -> Path:
    path.write_bytes(echo_policy(path).read_bytes()[:-100])
    return path


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (damaged, "truncated or not an ONNX file"),
        (lambda path: constant_policy(path, float("nan"), 0.0), r"answers \[nan, 0.0\] to a black frame"),
        (lambda path: constant_policy(path, 0.0, 2.0), "expected"),
        (
            lambda path: echo_policy(path, msgspec.structs.replace(SPEC, period_s=0.05)),
            "period_s is 0.05, expec",
        ),
        (lambda path: echo_policy(path, msgspec.structs.replace(SPEC, top_speed_mps=9.0)), "top_speed_mps is 9"),
        (lambda path: echo_policy(path, msgspec.structs.replace(SPEC, history=3)), "has tensors"),
        (lambda path: echo_policy(path, None), "not exported by Lapwing"),
    ],
    ids=["damaged", "NaN", "out of range", "another period", "another car", "other inputs", "of somebody else"],
)
def test_what_is_not_fit_is_refused_in_one_line_and_the_next_that_is_fit_is_served(watched, tmp_path, spoil, reason):
    assert watched.put(spoil(tmp_path / "new.onnx")) is None
    (line,) = watched.said
    assert line.startswith(f"not reloaded, policy {watched.first.id} serves on: ")
    assert "\n" not in line
    assert re.search(reason, line)
    watched.reloader.look()
    assert watched.reloader.counts == {"refused": 1}
    assert watched.put(constant_policy(tmp_path / "good.onnx", 0.0, 0.0)) is not None


def test_a_file_that_is_gone_changes_nothing(watched, tmp_path):
    watched.path.unlink()
    watched.reloader.look()
    assert not watched.said
    assert watched.put(constant_policy(tmp_path / "new.onnx", 0.0, 0.0)) is not None


def test_every_byte_that_is_damaged_is_survived(watched, tmp_path):
    whole, look = watched.path.read_bytes(), tmp_path / "new.onnx"
    for at in range(0, len(whole), 7):
        look.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        watched.put(look)
    fates = watched.reloader.counts
    assert fates["refused"] > 10


def test_the_thread_sees_a_change_and_ends_when_it_is_told_to(tmp_path):
    path = echo_policy(tmp_path / "policy.onnx")
    told = Event()
    with Reloader(OnnxPolicy.load(path), path, list, lambda line: told.set()) as reloader:
        constant_policy(tmp_path / "new.onnx", 0.0, 0.0).rename(path)
        assert told.wait(SOON_S)
        assert reloader.take() is not None
    assert not reloader._thread.is_alive()
