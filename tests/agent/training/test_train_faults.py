"""Whatever is killed, frozen or filled under training, it goes on or ends in good order: real processes."""

import csv
import os
import resource
import select
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from socket import socket

import numpy as np
import pytest
import zmq
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agent.checkpoint import load_actor
from agent.snapshot import load_newest
from deploy.wire import Delivery, Experience, pack
from tests.agent.processes import training, until_it_drives, until_it_says, workers_of


def until_it_has_saved(process: subprocess.Popen, out: Path) -> None:
    """Wait for the second checkpoint."""
    while len(list((out / "checkpoints").glob("step-*[0-9]"))) < 2:
        assert process.poll() is None, process.stderr.read()
        select.select([], [], [], 0.02)


def until_processes_start_up(process: subprocess.Popen, out: Path) -> None:
    """Wait for the file that is written before any process is started."""
    while not (out / "vae.onnx").exists():
        assert process.poll() is None, process.stderr.read()
        select.select([], [], [], 0.02)


def to_all(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGINT)


def to_the_parent(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("moment", "interrupt"),
    [
        (until_it_drives, to_the_parent),
        pytest.param(until_processes_start_up, to_all, marks=pytest.mark.slow),
        pytest.param(until_it_drives, to_all, marks=pytest.mark.slow),
        pytest.param(until_processes_start_up, to_the_parent, marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_ends_all_processes_and_leaves_only_whole_files(
    encoder: Path, dataset: Path, tmp_path: Path, moment: Callable, interrupt: Callable
):
    out = tmp_path / "out"
    with training(encoder, dataset, out) as process:
        moment(process, out)
        interrupt(process)
        _, stderr = process.communicate(timeout=30)  # until every process that holds the pipes has ended
    assert process.returncode == 130
    assert stderr.strip().splitlines()[-1:] == ["lapwing train: interrupted"]
    assert "Traceback" not in stderr
    assert list(tmp_path.rglob("*.part")) == []
    if (out / "actor.safetensors").exists():
        load_actor(out / "actor.safetensors")
    if moment is until_it_drives:  # there is something to go on from
        assert load_newest(out / "checkpoints", warn=pytest.fail).facts["episodes"] > 0


def test_a_killed_run_goes_on_from_its_checkpoint(encoder: Path, dataset: Path, tmp_path: Path):
    out = tmp_path / "out"
    with training(encoder, dataset, out, "--checkpoint-every", "1") as process:
        until_it_has_saved(process, out)
        os.killpg(process.pid, signal.SIGKILL)
    saved = load_newest(out / "checkpoints", warn=pytest.fail)
    episodes = saved.facts["episodes"]
    with training(encoder, dataset, out, "--resume", "--max-episodes", str(episodes + 2)) as process:
        assert process.wait(timeout=60) == 1, process.stderr.read()
    with (out / "episodes.csv").open() as file:
        rows = list(csv.DictReader(file))
    trained = [int(row["episode"]) for row in rows if row["kind"] == "train"]
    assert trained == list(range(len(trained)))  # none is lost, none counts twice
    assert len([row for row in rows if row["kind"] == "test"]) == episodes + 2
    updates = [int(row["updates"]) for row in rows]
    assert updates == sorted(updates)
    assert saved.facts["updates"] in updates


@pytest.mark.slow
def test_an_actor_that_is_killed_is_started_anew_and_training_goes_on(encoder, dataset, tmp_path):
    with training(encoder, dataset, tmp_path / "out") as process:
        until_it_drives(process, tmp_path / "out")
        learner, actor = workers_of(process)
        os.kill(actor, signal.SIGKILL)
        until_it_says(process, "actor 0 died and is started anew")
        until_it_drives(process, tmp_path / "out")
        assert workers_of(process)[0] == learner


@pytest.mark.parametrize("saved", [True, False], ids=["from its checkpoint", "from the beginning"])
@pytest.mark.slow
def test_a_learner_that_is_killed_goes_on_and_its_actor_drives_on(saved, encoder, dataset, tmp_path):
    out = tmp_path / "out"
    with training(encoder, dataset, out, *(["--checkpoint-every", "1"] if saved else [])) as process:
        (until_it_has_saved if saved else until_it_drives)(process, out)
        learner, actor = workers_of(process)
        os.kill(learner, signal.SIGKILL)
        until_it_says(process, "the learner died and is started anew")
        for _ in range(2):
            until_it_says(process, "episode")
        assert workers_of(process)[0] == actor
    with (out / "episodes.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "train"]
    assert len({row["wall_s"] for row in rows}) == len(rows)  # none counts twice
    updates = [int(row["updates"]) for row in rows]
    assert updates == sorted(updates)


def test_actors_end_when_the_process_that_started_them_is_killed(encoder, dataset, tmp_path):
    with training(encoder, dataset, tmp_path / "out") as process:
        until_it_drives(process, tmp_path / "out")
        process.kill()
        process.communicate(timeout=30)  # until every process that holds the pipes has ended


@pytest.mark.slow
def test_a_full_disk_at_a_checkpoint_does_not_end_training(encoder, dataset, tmp_path):
    """A limit on the size of the learner's files stands in for the disk: the replay is the one that does not fit."""
    with training(encoder, dataset, tmp_path / "out", "--checkpoint-every", "1") as process:
        until_it_has_saved(process, tmp_path / "out")
        replay = max(path.stat().st_size for path in (tmp_path / "out").glob("checkpoints/*/replay-*.npy"))
        resource.prlimit(workers_of(process)[0], resource.RLIMIT_FSIZE, (replay - 1, replay - 1))
        until_it_says(process, "no checkpoint was written")
        until_it_drives(process, tmp_path / "out")
    load_newest(tmp_path / "out" / "checkpoints", warn=pytest.fail)


JUMPING = """
import random, time
real = time.time
time.time = lambda: real() + random.choice((-1e6, 0.0, 1e6))
"""


@pytest.mark.slow
def test_a_wall_clock_that_jumps_by_days_disturbs_nobody(encoder, dataset, tmp_path, monkeypatch):
    """In every process of the run: each imports this module when it starts."""
    (tmp_path / "sitecustomize.py").write_text(JUMPING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with training(encoder, dataset, tmp_path / "out", "--max-episodes", "3") as process:
        said, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr  # after three episodes, none of them the whole route three times
    assert "anew" not in said
    with (tmp_path / "out" / "episodes.csv").open() as file:
        assert all(
            0 <= float(row["wall_s"]) < 1000 and 0 <= float(row["seconds"]) < 1000 for row in csv.DictReader(file)
        )


@pytest.mark.slow
def test_what_strangers_send_to_a_learner_is_counted_and_dropped(encoder, dataset, tmp_path):
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out, rng = tmp_path / "out", np.random.default_rng(0)
    with (
        training(encoder, dataset, out, "--listen", f"tcp://127.0.0.1:{port}", "--max-episodes", "3") as process,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as stranger,  # none of ours: it never reads what it is sent
    ):
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.connect(f"tcp://127.0.0.1:{port}")
        until_it_drives(process, out)
        foreign = pack(Experience(episode=0, first=0, actor=1), *[np.zeros((2, 3), np.float32)] * 5)
        for number in range(50):
            stranger.send_multipart([rng.bytes(n) for n in rng.integers(0, 200, 3)])
            stranger.send_multipart([*pack(Delivery(life=7, number=number, first=0)), *foreign])
        said, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert "anew" not in said
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    assert events.Scalars("learner/malformed_messages")[-1].value == 100
