"""The learner of a taught car keeps a book of its lessons, and goes back in it, also when it was killed in between."""

import csv
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawValue
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import zmq
from rich.console import Console

from agent.algorithms.ddpg import DDPG, DDPGConfig
from agent.checkpoint import flat_weights, load_actor, load_policy, make_actor
from agent.line.channel import ActorEnd, LearnerEnd, local_addresses
from agent.snapshot import CHECKPOINTS, Snapshot, load_newest
from agent.teaching.config import TeachConfig
from agent.teaching.lessons import Book, Lessons, learn
from agent.training.ratio import Ratio
from agent.training.supervisor import Link
from deploy.wire import Begin, EpisodeReport, Experience, Undo
from perception.episodes import RecordConfig, record
from perception.files import FolderInUseError, alone_in
from tests.agent.fakes import FACTS
from tests.agent.runs import write_encoder

OBS = FACTS.obs_size
SMALL = msgspec.structs.replace(FACTS, hidden=(8,))
SETTINGS = DDPGConfig(hidden=(8,), batch_size=4)
WEIGHTS = len(flat_weights(make_actor(SMALL)))
RANDOM = 38  # transitions of 20 frames in one episode, as lived and mirrored


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    record(RecordConfig(out=folder / "episodes", frames=20))
    write_encoder(folder / "vae.safetensors")
    return folder


@pytest.fixture
def config(data, tmp_path) -> TeachConfig:
    return TeachConfig(
        encoder=data / "vae.safetensors",
        episodes=data / "episodes",
        out=tmp_path,
        ratio=Ratio(10, 0.5, band=0),
        ddpg=SETTINGS,
    )


def told(kind: str, distance_m: float = 1.0, episode: int = 0, finished: bool = False) -> EpisodeReport:
    return EpisodeReport(
        actor=0,
        car=0,
        episode=episode,
        kind=kind,
        steps=1,
        distance_m=distance_m,
        reward=distance_m,
        disengagement=None if finished else "off lane",
        finished=finished,
        version=1,
        wall_s=1.0,
    )


def weights(value: float) -> np.ndarray:
    return np.full(WEIGHTS, value, np.float32)


def experience(seed: int, steps: int = 8) -> tuple:
    rng = np.random.default_rng(seed)
    obs, next_obs = rng.normal(size=(2, steps, OBS)).astype(np.float32)
    action, reward = rng.uniform(-1, 1, (steps, 2)).astype(np.float32), rng.normal(size=steps).astype(np.float32)
    return Experience(episode=seed, first=0, actor=0), obs, action, reward, np.zeros(steps, bool), next_obs


def kept(folder: Path) -> float:
    """The value that all weights of the best policy have."""
    return float(flat_weights(load_actor(folder / "actor.safetensors")[0])[0])


def critic(value: float) -> np.ndarray:
    """Weights for a critic of the settings below that are all that value."""
    return np.full(len(flat_weights(DDPG(SETTINGS, OBS, 2).value)), value, np.float32)


def kept_value(folder: Path) -> float:
    """The value that all weights of the critic beside the best policy have."""
    *_, value = load_policy(folder / "actor.safetensors")
    assert value is not None
    return float(flat_weights(value)[0])


def rows(folder: Path) -> list[tuple[str, str]]:
    with (folder / "episodes.csv").open(newline="") as file:
        return [(row["kind"], row["distance_m"]) for row in csv.DictReader(file)]


# -- the book


def test_the_best_policy_is_that_of_a_test_that_none_outdid(tmp_path):
    book, best = Book(), []
    for distance_m, finished in ((3.0, False), (2.0, False), (3.0, False), (9.0, True), (8.9, True), (5.0, False)):
        book.add(told("test", distance_m, finished=finished), weights(len(best)), 0, critic(len(best)))
        book.write(tmp_path, SMALL, SETTINGS)
        best.append(kept(tmp_path))
        assert kept_value(tmp_path) == best[-1]
    assert best == [0, 0, 2, 3, 4, 4]


def test_training_leaves_a_row_and_no_policy(tmp_path):
    book = Book()
    book.add(told("train", 99.0), None, 7, critic(0))
    book.write(tmp_path, SMALL, SETTINGS)
    assert rows(tmp_path) == [("train", "99.0")]
    assert not (tmp_path / "actor.safetensors").exists()


@pytest.fixture
def lessons(config, socket_folder) -> Iterator[Lessons]:
    torch.manual_seed(0)
    with zmq.Context() as context, closing(LearnerEnd(context, local_addresses(str(socket_folder)))) as line:
        lessons = Lessons(config, SMALL, line, Console(quiet=True))
        lessons.start(resume=False)
        yield lessons


def test_undo_takes_back_rows_and_the_best_policy_of_the_tests_since(lessons, config):
    begin, undo = Begin(actor=0, episode=0), Undo(actor=0)
    lessons.turn(begin)
    lessons.judge(told("train"), None)
    lessons.judge(told("test", 3.0), weights(0.25))
    lessons.turn(begin)
    lessons.judge(told("train", 2.0), None)
    lessons.judge(told("test", 7.0), weights(0.5))
    assert kept(config.out) == 0.5
    lessons.turn(undo)
    assert rows(config.out) == [("train", "1.0"), ("test", "3.0")]
    assert kept(config.out) == 0.25
    lessons.turn(undo)  # there is nothing more to undo
    assert kept(config.out) == 0.25


def test_undo_of_the_first_episode_leaves_no_policy(lessons, config):
    lessons.turn(Begin(actor=0, episode=0))
    lessons.judge(told("test", 3.0), weights(0.25))
    assert (config.out / "actor.safetensors").exists()
    lessons.turn(Undo(actor=0))
    assert not (config.out / "actor.safetensors").exists()
    assert rows(config.out) == []


def test_a_new_run_clears_away_what_an_earlier_one_left(config, socket_folder):
    (config.out / "actor.safetensors").touch()
    (config.out / "episodes.csv").write_text("old")
    with zmq.Context() as context, closing(LearnerEnd(context, local_addresses(str(socket_folder)))) as line:
        Lessons(config, SMALL, line, Console(quiet=True)).start(resume=False)
    assert not (config.out / "actor.safetensors").exists()
    assert rows(config.out) == []


def test_it_begins_with_the_random_episodes(lessons):
    assert len(lessons.learner.replay) == lessons.learner.transitions == RANDOM


def test_a_full_disk_is_told_and_teaching_goes_on(lessons, config, monkeypatch):
    monkeypatch.setattr(lessons, "console", Console(width=200))
    monkeypatch.setattr(lessons.learner, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with lessons.console.capture() as capture:
        lessons.turn(Begin(actor=0, episode=0))
    assert "no checkpoint was written" in capture.get()
    lessons.learner.updates += 1
    lessons.turn(Undo(actor=0))
    assert lessons.learner.updates == 0  # remembered all the same


def test_a_run_that_is_resumed_goes_on_where_it_was_saved(lessons, config, socket_folder):
    lessons.judge(told("test", 3.0), weights(0.25))
    lessons.learner.updates, lessons.learner.episodes = 7, 1
    lessons.save()
    (config.out / "actor.safetensors").unlink()
    other = Path(socket_folder) / "other"
    other.mkdir()
    with zmq.Context() as context, closing(LearnerEnd(context, local_addresses(str(other)))) as line:
        resumed = Lessons(config, SMALL, line, Console(quiet=True))
        resumed.start(resume=True)
    assert (resumed.learner.updates, resumed.learner.episodes) == (7, 1)
    assert len(resumed.learner.replay) == len(lessons.learner.replay)
    assert resumed.book == lessons.book
    assert kept(config.out) == 0.25
    assert rows(config.out) == [("test", "3.0")]


# -- in a process of its own


def start(life: int, config: TeachConfig, folder: Path) -> BaseProcess:
    arguments = (Link(RawValue("d", 0.0), pipe=None), life, config, SMALL, local_addresses(str(folder)))
    process = get_context("spawn").Process(target=learn, args=arguments, daemon=True)
    process.start()
    return process


def settle(line: ActorEnd, updates: int) -> None:
    """Wait until the learner has all that was sent, and has made so many updates beside those for random episodes."""
    header = None
    while not header or line.sent > line.arrived or header.version <= line.version or header.due:
        newest = line.newest_weights(wait_ms=100)
        header = newest[0] if newest else header
    assert header.updates == updates + RANDOM // 2


def end(process: BaseProcess, config: TeachConfig) -> Snapshot:
    process.terminate()
    process.join()
    return load_newest(config.out / CHECKPOINTS, pytest.fail)


def test_an_episode_can_be_undone_by_a_learner_that_was_killed_since_it_began(config, socket_folder):
    with zmq.Context() as context, closing(ActorEnd(context, local_addresses(str(socket_folder)))) as line:
        learner = start(0, config, socket_folder)
        line.send(Begin(actor=0, episode=0))
        line.send(*experience(1))
        line.send(told("train", 5.0))
        settle(line, updates=14)  # 10 for the episode, half of 8 for its steps
        line.send(Begin(actor=0, episode=1))
        settle(line, updates=14)
        remembered = load_newest(config.out / CHECKPOINTS, pytest.fail)
        line.send(*experience(2))
        line.send(told("train", 9.0, episode=1))
        line.send(told("test", 4.0), weights(0.5))
        settle(line, updates=28)
        os.kill(learner.pid or 0, signal.SIGKILL)
        learner.join()
        assert len(rows(config.out)) == 3
        line.send(Undo(actor=0))
        learner = start(1, config, socket_folder)
        settle(line, updates=14)
        undone = end(learner, config)
    for found, expected in ((undone.tensors, remembered.tensors), (undone.replay, remembered.replay)):
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.equal(found[name], tensor), name
    assert [undone.facts[name] for name in ("updates", "transitions", "episodes")] == [14 + RANDOM // 2, 8 + RANDOM, 1]
    assert rows(config.out) == [("train", "5.0")]
    assert not (config.out / "actor.safetensors").exists()  # the only test was of weights that are undone


PARENT = """
import sys, signal, msgspec
from pathlib import Path
from agent.teaching.config import TeachConfig
from agent.settings import _path
from tests.agent.teaching.test_lessons import start
if __name__ == "__main__":
    config = msgspec.json.decode(sys.argv[1], type=TeachConfig, dec_hook=_path)
    print(start(0, config, Path(sys.argv[2])).pid, flush=True)
    signal.pause()
"""


def test_a_learner_whose_car_is_gone_saves_and_ends(config, socket_folder):
    written = msgspec.json.encode(config, enc_hook=str)
    with zmq.Context() as context, closing(ActorEnd(context, local_addresses(str(socket_folder)))) as line:
        with subprocess.Popen(
            [sys.executable, "-c", PARENT, written, str(socket_folder)], stdout=subprocess.PIPE, text=True
        ) as car:
            assert car.stdout
            ended = os.pidfd_open(int(car.stdout.readline()))
            line.send(*experience(1))
            settle(line, updates=4)
            with pytest.raises(FolderInUseError), alone_in(config.out / CHECKPOINTS):
                pass  # the learner may write
            car.kill()
        assert select.select([ended], [], [], 30.0)[0], "the learner lives on"
        os.close(ended)
    with alone_in(config.out / CHECKPOINTS):
        pass  # it is over
    assert load_newest(config.out / CHECKPOINTS, pytest.fail).facts["updates"] == 4 + RANDOM // 2
