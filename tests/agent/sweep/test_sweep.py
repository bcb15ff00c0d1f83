"""A sweep end to end, with real processes: what fails, what is broken off, and what a second call does."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from rich.console import Console

import agent.sweep.sweep
from agent.launchers import LAUNCHERS
from agent.launchers.attempt import ENDED, LOG
from agent.snapshot import CHECKPOINTS, snapshots
from agent.sweep.sweep import SweepConfig
from lapwing import main
from perception.files import alone_in
from tests.agent.worlds import BROKEN, GATE, SLOW, SMALL

QUICK = ("--", *SMALL, "--steps", "100", "--start-steps", "100", "--evaluate-every", "50")


@pytest.fixture
def gate(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(GATE, str(tmp_path / "gate"))
    return tmp_path / "gate"


def table(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_run_that_fails_ends_no_other_and_is_tried_again(tmp_path, gate, capsys):
    out = tmp_path / "sweep"
    call = ["sweep", "--out", str(out), "--grid", f"env=Pendulum-v1,{BROKEN}", "--jobs", "2", *QUICK]
    assert main(call) == 1
    good, bad = table(out)
    assert (good["state"], good["steps"], bad["state"], bad["final"]) == ("finished", "100", "failed", "")
    assert "RuntimeError: this world is broken" in capsys.readouterr().out
    before = (out / good["run"] / ENDED).stat().st_mtime_ns
    gate.touch()
    assert main(call) == 0
    assert [row["state"] for row in table(out)] == ["finished", "finished"]
    assert (out / good["run"] / ENDED).stat().st_mtime_ns == before
    assert "broken" not in (out / bad["run"] / LOG).read_text()  # it began anew
    assert (out / "env.png").read_bytes().startswith(b"\x89PNG")


def start(out: Path) -> subprocess.Popen:
    """A sweep of two runs of 20 s, one at a time, in a process group of its own."""
    options = ["--", *SMALL, "--env", SLOW, "--steps", "1000", "--start-steps", "1000", "--evaluate-every", "500"]
    command = [sys.executable, "-m", "lapwing", "sweep", "--out", str(out), "--seeds", "0", "1", *options]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_all_and_the_next_call_goes_on(tmp_path, gate, number):
    out = tmp_path / "sweep"
    first, episodes = out / "seed=0", out / "seed=0" / "episodes.csv"
    process = start(out)
    while not (episodes.exists() and episodes.read_text().count("\n") > 2):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, number)  # as a terminal does
    assert process.communicate(timeout=100)[1] == "lapwing sweep: interrupted\n"
    assert process.returncode == 130
    with alone_in(first):  # nobody writes there any more
        assert len(snapshots(first / CHECKPOINTS)) == 1
    assert not (out / "seed=1" / LOG).exists()
    gate.touch()
    with start(out) as process:
        process.communicate(timeout=100)
    assert process.returncode == 0
    assert "lapwing train: interrupted" in (first / LOG).read_text()  # it went on
    assert [row["steps"] for row in table(out)] == ["1000", "1000"]


class Stubborn:
    """A launcher whose trials do not end by being asked."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def ended(self) -> list[str]:
        return []

    def interrupt(self) -> None:
        self.told.append("interrupt")

    def kill(self) -> None:
        self.told.append("kill")


@pytest.mark.parametrize(("received", "grace_s"), [([2, 2], 1e9), ([2], 0.0)])
def test_a_second_ctrl_c_or_a_long_wait_ends_runs_that_do_not_end_themselves(monkeypatch, received, grace_s):
    monkeypatch.setattr(agent.sweep.sweep, "GRACE_S", grace_s)
    launcher = Stubborn()
    agent.sweep.sweep._end(launcher, 1, received, Console(quiet=True))
    assert launcher.told == ["interrupt", "kill"]


def test_a_run_that_outlived_its_sweep_is_waited_for(tmp_path, capsys):
    out = tmp_path / "sweep"
    with alone_in(out / "seed=0"):
        (out / "sweep.json").write_text("{}")
        assert main(["sweep", "--out", str(out), *QUICK]) == 2
    assert f"{out / 'seed=0'}: another process writes to it" in capsys.readouterr().err


def test_one_sweep_at_a_time_is_in_a_folder(tmp_path, capsys):
    with alone_in(tmp_path):
        assert main(["sweep", "--out", str(tmp_path), *QUICK]) == 2
    assert "another process writes to it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--grid", "noise=ou,loud"], "loud"),
        (["--grid", "td3.wings=2"], "--td3.wings"),
        (["--grid", "steps=0"], "steps is 0"),
        (["--jobs", "0"], "jobs is 0"),
        (["--seeds", "-1"], "seeds[0] is -1"),
        (["--address", "auto"], "expected --launcher ray"),
        (["--launcher", "cloud"], "cloud"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(tmp_path, capsys, options, said):
    assert main(["sweep", "--out", str(tmp_path / "sweep"), *options, *QUICK]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "sweep").exists()


def test_without_ray_its_launcher_says_what_to_install(tmp_path, capsys, monkeypatch):
    for module in ("agent.launchers.ray_tasks", "agent.cluster"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["sweep", "--out", str(tmp_path / "sweep"), "--launcher", "ray", *QUICK]) == 2
    assert "pip install 'lapwing[cluster]'" in capsys.readouterr().err


def test_a_cluster_that_is_not_there_is_told_at_once(tmp_path, capsys):
    call = ["sweep", "--out", str(tmp_path / "sweep"), "--launcher", "ray", "--address", "127.0.0.1:1", *QUICK]
    assert main(call) == 2
    assert "127.0.0.1:1" in capsys.readouterr().err


def test_the_command_line_knows_every_launcher():
    assert get_args(get_type_hints(SweepConfig)["launcher"]) == tuple(LAUNCHERS)


@pytest.mark.slow
def test_runs_have_one_thread_each(tmp_path, gate, monkeypatch):
    """What OpenMP was told stands in the log of a run that prints it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("OMP_DISPLAY_ENV", "TRUE")
    out = tmp_path / "sweep"
    assert main(["sweep", "--out", str(out), *QUICK]) == 0
    assert "OMP_NUM_THREADS = '1'" in (out / "seed=0" / LOG).read_text()
    assert json.loads((out / "seed=0" / "config.json").read_bytes())["seed"] == 0
