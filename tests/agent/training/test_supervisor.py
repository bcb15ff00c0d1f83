"""The processes of a run are started anew when they die or fall silent, and none outlives the run."""

import os
import select
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

import agent.training.supervisor
from agent.training.supervisor import TRIES, Job, Link, ProcessError, Supervisor


def stay(link: Link, life: int, name: str, folder: Path) -> None:
    """Be a process: say so, then wait to be killed."""
    link.beat()
    (folder / f"{name}-{life}").touch()
    signal.pause()


def fall(link: Link, life: int) -> None:
    """Be a process that cannot start."""
    raise SystemExit(3)


def be_slow(link: Link, life: int, folder: Path) -> None:
    """Be a process that has not come to its first heartbeat yet."""
    (folder / "slow").touch()
    signal.pause()


def count(link: Link, life: int, until: int) -> None:
    """Be a process that has something to tell, and then has done its job."""
    for i in range(until):
        link.tell((os.getpid(), i))


def die_half_way(link: Link, life: int) -> None:
    """Be a process that dies in its first life, after a word, and does its job in its second."""
    link.beat()
    link.tell(f"life {life}")
    if life == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def until(path: Path) -> None:
    while not path.exists():
        select.select([], [], [], 0.02)


def kill_all(supervisor: Supervisor) -> None:
    """So that the supervisor need not wait for processes that never end."""
    for worker in supervisor.workers:
        worker.process.kill()


def test_one_that_is_killed_is_started_anew_and_the_others_stay(tmp_path):
    told: list[str] = []
    jobs = [Job(name, stay, (name, tmp_path)) for name in ("the learner", "actor 0")]
    with Supervisor(jobs, told.append) as supervisor:
        other, victim = (worker.process for worker in supervisor.workers)
        until(tmp_path / "the learner-0")
        until(tmp_path / "actor 0-0")
        os.kill(victim.pid or 0, signal.SIGKILL)
        victim.join()
        supervisor.watch()
        until(tmp_path / "actor 0-1")
        assert told == ["actor 0 died and is started anew"]
        assert supervisor.workers[0].process is other
        supervisor.watch()
        assert len(told) == 1
        kill_all(supervisor)


def test_one_that_is_frozen_is_killed_and_started_anew(tmp_path):
    told: list[str] = []
    job = Job("actor 0", stay, ("actor 0", tmp_path), silence_s=1e9)
    with Supervisor([job], told.append) as supervisor:
        victim = supervisor.workers[0].process
        until(tmp_path / "actor 0-0")
        os.kill(victim.pid or 0, signal.SIGSTOP)
        supervisor.watch()
        assert told == []  # not yet
        job.silence_s = 0.0
        supervisor.watch()
        assert told == ["actor 0 fell silent and is started anew"]
        assert victim.exitcode == -signal.SIGKILL
        until(tmp_path / "actor 0-1")
        kill_all(supervisor)


def test_one_that_takes_long_to_start_is_not_taken_for_frozen(tmp_path):
    told: list[str] = []
    with Supervisor([Job("slow", be_slow, (tmp_path,), silence_s=0.0)], told.append) as supervisor:
        until(tmp_path / "slow")
        supervisor.watch()
        assert told == []
        kill_all(supervisor)


def test_one_that_never_starts_is_started_anew(tmp_path, monkeypatch):
    told: list[str] = []
    with Supervisor([Job("slow", be_slow, (tmp_path,))], told.append) as supervisor:
        until(tmp_path / "slow")
        monkeypatch.setattr(agent.training.supervisor, "STARTUP_S", 0.0)
        supervisor.watch()
        assert told == ["slow fell silent and is started anew"]
        kill_all(supervisor)


def test_one_that_cannot_start_ends_the_run():
    told: list[str] = []
    with (
        pytest.raises(ProcessError, match=f"actor 0 ended {TRIES} times before it did anything") as caught,
        Supervisor([Job("actor 0", fall, ())], told.append) as supervisor,
    ):
        list(supervisor.events())
    assert caught.value.exit_code == 2
    assert len(told) == TRIES - 1


def test_events_come_in_the_order_of_each_process_and_end_with_the_last_job():
    jobs = [Job("a", count, (300,)), Job("b", count, (5,))]
    with Supervisor(jobs, pytest.fail) as supervisor:
        events = list(supervisor.events())
    told: dict[int, list[int]] = {}
    for pid, i in events:
        told.setdefault(pid, []).append(i)
    assert sorted(told.values(), key=len) == [list(range(5)), list(range(300))]


def test_what_one_told_before_it_died_is_heard_and_its_next_life_too():
    told: list[str] = []
    with Supervisor([Job("job", die_half_way, ())], told.append) as supervisor:
        assert list(supervisor.events())[-1] == "life 1"
    assert told == ["job died and is started anew"]


def test_none_outlives_the_run(tmp_path):
    supervisor = Supervisor([Job(name, stay, (name, tmp_path)) for name in "ab"], print)

    def interrupted_run() -> None:
        with supervisor:
            until(tmp_path / "a-0")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_run()
    assert not any(worker.process.is_alive() for worker in supervisor.workers)


def test_ctrl_c_while_processes_start_is_neither_lost_nor_heard_by_them(tmp_path, monkeypatch):
    """It comes while the second one starts, and goes to all, as from a terminal."""
    started: list[BaseProcess] = []
    start = BaseProcess.start

    def interrupted_start(process: BaseProcess) -> None:
        start(process)
        started.append(process)
        if len(started) == 2:
            until(tmp_path / "a-0")
            for pid in (started[0].pid, started[1].pid, os.getpid()):
                os.kill(pid or 0, signal.SIGINT)
            until(tmp_path / "b-0")  # it was not ended by that

    monkeypatch.setattr(BaseProcess, "start", interrupted_start)
    with pytest.raises(KeyboardInterrupt), Supervisor([Job(name, stay, (name, tmp_path)) for name in "abc"], print):
        pytest.fail("it should have been interrupted before")
    assert [process.exitcode for process in started] == [-signal.SIGKILL] * len(started)
