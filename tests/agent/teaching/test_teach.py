"""Teaching end to end: the simulated car in its process, a learner in another, a scripted safety driver."""

import csv
import os
import signal
from dataclasses import replace
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from rich.console import Console

from agent.algorithms.ddpg import DDPGConfig
from agent.checkpoint import load_actor
from agent.settings import SettingsError
from agent.snapshot import CHECKPOINTS, SnapshotError, load_newest
from agent.teaching.config import TeachConfig
from agent.teaching.teach import TeachError, teach
from agent.training.ratio import Ratio
from deploy.policy import OnnxPolicy
from deploy.safety_drivers import SAFETY_DRIVERS, Phase, Request, SafetyConfig, SafetyDriverError, Task
from deploy.safety_drivers.scripted import ScriptedDriver
from deploy.vehicles import VEHICLES, Frame, VehicleError
from perception.dataset import Dataset
from perception.encoders import EncoderError, save_encoder
from perception.encoders.vae import VAE, VAEConfig
from perception.episodes import RecordConfig, record
from perception.files import FolderInUseError, alone_in
from perception.shards import DatasetError
from tests.agent.runs import write_encoder

SCRIPTED = SafetyConfig(driver="scripted", put_back_s=0.0, rounds=1, until_passed=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A few random episodes and an encoder that has learned nothing."""
    folder = tmp_path_factory.mktemp("data")
    record(RecordConfig(out=folder / "episodes", frames=60))
    write_encoder(folder / "vae.safetensors")
    return folder


@pytest.fixture
def config(data, tmp_path) -> TeachConfig:
    return TeachConfig(
        encoder=data / "vae.safetensors",
        episodes=data / "episodes",
        out=tmp_path / "run",
        length_m=12.0,
        speed=5.0,
        safety=SCRIPTED,
        ratio=Ratio(3.0, 0.05, band=0),
        ddpg=DDPGConfig(hidden=(8,)),
    )


class KillsTheLearner(ScriptedDriver):
    """Kills it in the second training episode, before anything of that is learned from, and goes on watching."""

    cycles_without: ClassVar[list[Frame]] = []
    episodes = 0
    victim: BaseProcess | None = None

    def watch(self, frame: Frame, phase: Phase, task: Task) -> Request | None:
        said = super().watch(frame, phase, task)
        self.episodes += said == "in place" and task == "train"
        if self.episodes == 2 and phase == "driving":
            if not self.victim:
                self._kill()
            self.cycles_without.append(frame)
        return said

    def _kill(self) -> None:
        (self.victim,) = (process for process in active_children() if process.name == "the learner")
        os.kill(self.victim.pid or 0, signal.SIGKILL)
        self.victim.join()


def write_config(config: TeachConfig) -> None:
    (config.out / "config.json").write_bytes(msgspec.json.encode(config, enc_hook=str))


def lessons(run: Path) -> list[dict[str, str]]:
    with (run / "episodes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_session_with_everything_in_it(config, monkeypatch):
    monkeypatch.setattr("agent.teaching.teach.STALL_PERIODS", 600)  # a noisy machine is no stall
    monkeypatch.setattr(KillsTheLearner, "cycles_without", [])
    monkeypatch.setitem(SAFETY_DRIVERS, "scripted", f"{__name__}:KillsTheLearner")
    script = ("train", "train", "test", "train", "undo", "test")
    with (console := Console(width=200)).capture() as capture:
        taught = teach(replace(config, safety=replace(SCRIPTED, script=script)), console)
    text = capture.get()
    assert (taught.trained, taught.tested, taught.undone) == (3, 2, 1)
    # The learner was killed and started anew, and meanwhile the car drove on.
    assert text.count("the learner is lost and started anew") == 1
    assert len(KillsTheLearner.cycles_without) > 1
    # What was driven without it was learned from, once; what was undone was not.
    rows = lessons(config.out)
    assert [(row["kind"], row["episode"]) for row in rows] == [
        ("train", "0"),
        ("train", "1"),
        ("test", "2"),
        ("test", "2"),
    ]
    learned = load_newest(config.out / CHECKPOINTS, pytest.fail)
    steps = sum(int(row["steps"]) for row in rows if row["kind"] == "train")
    transitions = learned.facts["transitions"]  # none of missed control cycles
    assert learned.facts["episodes"] == 2
    random = 2 * sum(len(episode.rewards) for episode in Dataset(config.episodes).episodes())  # as lived and mirrored
    assert 2 * (steps - taught.missed) <= transitions - random <= 2 * steps
    assert learned.facts["updates"] == int(3 * 2 + 0.05 * transitions) == int(rows[-1]["updates"])
    # The best test left its policy, which the car can use.
    best = max(float(row["distance_m"]) for row in rows if row["kind"] == "test")
    assert learned.facts["book"]["best_m"] == pytest.approx(best)
    assert load_actor(config.out / "actor.safetensors")[1].length_m == 12.0
    assert taught.policy == config.out / "policy.onnx"
    assert OnnxPolicy.load(taught.policy).spec.run == "run"
    assert not list(config.out.glob("*.part"))


def test_what_cannot_be_is_told_before_anything_is_written(config, tmp_path, monkeypatch):
    quiet = Console(quiet=True)
    small = VAE(VAEConfig(height_px=32, width_px=32, channels=(4, 4)))
    save_encoder(tmp_path / "small.safetensors", small)
    monkeypatch.setitem(VEHICLES, "real", "tests.deploy.cars:RealCar")
    wrong: list[tuple[dict, type[Exception], str]] = [
        ({"encoder": tmp_path / "none"}, EncoderError, "none"),
        ({"episodes": tmp_path / "none"}, DatasetError, "none"),
        ({"vehicle": "boat"}, VehicleError, "boat is unknown"),
        ({"vehicle": "real"}, VehicleError, "real drives in real time; speed is 5, expected 1"),
        ({"vehicle": "real", "speed": 1.0}, SafetyDriverError, "needs a simulated car"),
        ({"safety": replace(SCRIPTED, reaction_s=-1.0)}, SettingsError, r"safety\.reaction_s is -1"),
        ({"resume": True}, SnapshotError, "no such run to resume"),
        ({"encoder": tmp_path / "small.safetensors"}, SettingsError, r"\(32, 32\).*\(64, 64\)"),
    ]
    for changes, error, message in wrong:
        with pytest.raises(error, match=message):
            teach(replace(config, **changes), quiet)
        assert not config.out.exists()


def test_a_learner_that_diverges_ends_the_session_with_its_reason(config):
    wild = replace(config, ddpg=DDPGConfig(hidden=(8,), actor_lr=1e30, critic_lr=1e30))
    with (console := Console(width=200)).capture() as capture, pytest.raises(TeachError, match=r"not finite.*lower lr"):
        teach(replace(wild, safety=replace(SCRIPTED, script=("train",) * 50)), console)
    assert "started anew" not in capture.get()


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("held", [".", CHECKPOINTS])  # by another car, or by the learner that outlived one
def test_a_folder_that_is_still_written_to_is_left_alone(config, resume, held):
    whole = config.out / CHECKPOINTS / "step-000000001"
    whole.mkdir(parents=True)
    (whole / "run.json").write_text("half of it")  # which must not even be read: that it is damaged is not told
    write_config(config)
    before = files_of(config.out)
    with alone_in(config.out / held), pytest.raises(FolderInUseError, match="another process writes to it"):
        teach(replace(config, resume=resume), Console(quiet=True))
    assert files_of(config.out) == before


def test_without_a_test_there_is_nothing_to_export(config):
    with (console := Console(width=200)).capture() as capture:
        taught = teach(replace(config, safety=replace(SCRIPTED, script=())), console)
    assert taught.policy is None
    assert "no test has been driven" in capture.get()
