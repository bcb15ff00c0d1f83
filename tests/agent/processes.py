"""`lapwing train` and what it starts, as real processes."""

import csv
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TINY = ("--length-m", "12", "--ratio.per-episode", "3", "--ratio.per-step", "0.05", "--ratio.band", "0")
TINY += ("--ddpg.hidden", "8")


@contextmanager
def training(encoder: Path, dataset: Path, out: Path, *more: str) -> Iterator[subprocess.Popen]:
    """`lapwing train` in a process group of its own."""
    arguments = ["--encoder", str(encoder), "--episodes", str(dataset), "--out", str(out), "--passes", "999", *TINY]
    with lapwing("train", *arguments, *more) as process:
        yield process


@contextmanager
def lapwing(*arguments: str) -> Iterator[subprocess.Popen]:
    """A command in a process group of its own, which ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lapwing", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def free_port(first: int) -> int:
    """One from there on where nobody listens, nor at the next one; tests that may run at once begin apart."""
    for port in range(first, first + 2000, 2):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
        return port
    raise AssertionError("no port is free")


def workers_of(process: subprocess.Popen) -> list[int]:
    """The pids of its learner and its actors, in the order in which they were started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]


def until_it_says(process: subprocess.Popen, text: str) -> None:
    said = ""
    while text not in said:
        said = process.stdout.readline()
        assert said, process.stderr.read()


def until(true: Callable[[], bool], *processes: subprocess.Popen) -> None:
    """Wait until something is true; these must not end before."""
    while not true():
        for process in processes:
            assert process.poll() is None, process.communicate()
        select.select([], [], [], 0.05)


def driven(out: Path) -> list[dict[str, str]]:
    """The rows of a run's episodes."""
    file = out / "episodes.csv"
    if not file.exists():
        return []
    with file.open() as rows:
        return list(csv.DictReader(rows))


def descendants(pid: int) -> set[int]:
    """The pids of a process's children, their children, and so on."""
    found = set()
    for lists in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids = {int(child) for child in lists.read_text().split()}
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        found |= pids.union(*(descendants(child) for child in pids))
    return found


def commands(pids: set[int]) -> dict[int, str]:
    """What each of these processes is called, of those that there still are."""
    found = {}
    for pid in pids:
        try:
            found[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def until_it_drives(process: subprocess.Popen, out: Path) -> None:
    """Wait for the line of an episode."""
    assert "episode" in process.stdout.readline()
