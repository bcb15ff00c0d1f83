"""Actor processes are started anew when they die or fall silent, and none outlives the run."""

import os
import select
import signal
import time
from pathlib import Path

import pytest

import agent.actors
from agent.actors import TRIES, Actors, ActorsError


def stay(actor: int, restarts: int, folder: Path) -> None:
    """Be an actor process: say so, then wait to be killed."""
    (folder / f"{actor}-{restarts}").touch()
    signal.pause()


def fall(actor: int, restarts: int, folder: Path) -> None:
    """Be an actor process that cannot start."""
    raise SystemExit(3)


def until(path: Path) -> None:
    while not path.exists():
        select.select([], [], [], 0.02)


def test_one_that_is_killed_is_started_anew_and_the_others_stay(tmp_path):
    told: list[str] = []
    with Actors(stay, (tmp_path,), told.append, count=2) as actors:
        other, victim = actors.processes
        until(tmp_path / "0-0")
        until(tmp_path / "1-0")
        os.kill(victim.pid or 0, signal.SIGKILL)
        victim.join()
        heard = dict.fromkeys((0, 1), time.monotonic())
        actors.watch(heard)
        until(tmp_path / "1-1")
        assert told == ["actor 1 died and is started anew"]
        assert actors.restarts == [0, 1]
        assert actors.processes[0] is other
        actors.watch(heard)
        assert len(told) == 1
        for process in actors.processes:
            process.kill()


def test_one_that_is_frozen_is_killed_and_started_anew(tmp_path, monkeypatch):
    told: list[str] = []
    with Actors(stay, (tmp_path,), told.append) as actors:
        (victim,) = actors.processes
        until(tmp_path / "0-0")
        os.kill(victim.pid or 0, signal.SIGSTOP)
        heard = {0: time.monotonic()}
        actors.watch(heard)
        assert told == []  # not yet
        monkeypatch.setattr(agent.actors, "SILENCE_S", 0.0)
        actors.watch(heard)
        assert told == ["actor 0 fell silent and is started anew"]
        assert victim.exitcode == -signal.SIGKILL
        until(tmp_path / "0-1")
        actors.processes[0].kill()


def test_one_that_takes_long_to_start_is_not_taken_for_frozen(tmp_path, monkeypatch):
    monkeypatch.setattr(agent.actors, "SILENCE_S", 0.0)
    told: list[str] = []
    with Actors(stay, (tmp_path,), told.append) as actors:
        actors.watch({})
        actors.watch({0: 0.0})  # heard of in an earlier life
        assert told == []
        actors.processes[0].kill()


def test_one_that_cannot_start_ends_the_run(tmp_path):
    told: list[str] = []
    with Actors(fall, (tmp_path,), told.append) as actors:
        for _ in range(TRIES - 1):
            actors.processes[0].join()
            actors.watch({})
        actors.processes[0].join()
        with pytest.raises(ActorsError, match=f"actor 0 ended {TRIES} times before it drove"):
            actors.watch({})
    assert len(told) == TRIES - 1


def test_none_outlives_the_run(tmp_path):
    actors = Actors(stay, (tmp_path,), print, count=2)

    def interrupted_run() -> None:
        with actors:
            until(tmp_path / "0-0")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_run()
    assert not any(process.is_alive() for process in actors.processes)
