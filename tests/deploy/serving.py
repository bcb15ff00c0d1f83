"""A real `lapwing serve` in a process of its own, and beside it a car that behaves well and keeps the time."""

import multiprocessing
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Queue
from threading import Thread

import numpy as np
import zmq

from deploy.client import PolicyClient
from deploy.sockets import connect
from deploy.wire import Act, pack
from tests.deploy.policies import IMAGE, STATE

ROOT = Path(__file__).parents[2]
SOON_S = 60.0  # more than anything here takes, however slow the machine
PACE_S = 0.004  # between two frames of the car


class Server:
    """The process, and what it says."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process
        self.lines: Queue[str] = Queue()
        self._reader = Thread(target=lambda: [self.lines.put(line) for line in process.stdout], daemon=True)
        self._reader.start()
        self.said_before = ""  # it was ready

    @property
    def address(self) -> str:
        """Where it listens."""
        return self.said_before.rsplit(" on ", 1)[1].split(";")[0]

    @property
    def metrics_url(self) -> str:
        return self.said_before.split("metrics at ")[1].split()[0]

    def resident_bytes(self) -> int:
        """How much memory it holds (Linux)."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def until_it_is_ready(self) -> None:
        while "serving policy" not in self.said_before:
            self.said_before += self.lines.get(timeout=SOON_S)

    def end(self) -> str:
        """Ask it to end, which must be in good order; its last line."""
        self.process.terminate()
        assert self.process.wait(SOON_S) == 0, self.process.stderr.read()
        self._reader.join()
        return self.lines.queue[-1]


@contextmanager
def serving(policy: Path, bind: str = "tcp://127.0.0.1:0", *more: str) -> Iterator[Server]:
    """A server of that policy; it is killed at the latest when it is no longer needed."""
    command = [sys.executable, "-m", "lapwing", "serve", "--policy", str(policy), "--bind", bind, *more]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        server = Server(process)
        try:
            server.until_it_is_ready()
            yield server
        finally:
            process.kill()
            server._reader.join()


@dataclass(frozen=True)
class Figures:
    """What became of the frames of the car that behaves well."""

    right: int  # answered in time, and as an echo policy must
    wrong: int
    silent: int  # not answered at all
    p50_s: float
    p99_s: float


class WellBehaved:
    """Asks an echo policy with another frame each time, one after the other, in a process of its own."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def figures(self) -> Figures:
        """Of all frames since it was asked last."""
        return self.over(0)

    def over(self, frames: int) -> Figures:
        """Of so many frames from now on."""
        self._pipe.send(frames)
        return self._pipe.recv()


@contextmanager
def well_behaved(address: str) -> Iterator[WellBehaved]:
    """Such a car, which has said hello."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_behave, args=(address, theirs))
    process.start()
    try:
        assert ours.recv() == "ready"
        yield WellBehaved(ours)
    finally:
        process.kill()
        process.join()


def _behave(address: str, pipe: Connection) -> None:
    with zmq.Context() as context, PolicyClient(context, address) as client:
        client.hello(SOON_S)
        pipe.send("ready")
        wanted: int | None = None  # how many frames the figures are to be of
        results: list[tuple[str, float]] = []
        for seq in count(1):
            if wanted is None and pipe.poll(0):
                wanted = pipe.recv()
                results = results if wanted == 0 else []
            if wanted is not None and len(results) >= wanted:
                pipe.send(_figures(results))
                wanted, results = None, []
            results.append(_ask(client, seq))
            time.sleep(PACE_S)


def _ask(client: PolicyClient, seq: int) -> tuple[str, float]:
    image, state = IMAGE.copy(), STATE.copy()
    image[0, 0, 0], state[0] = seq % 256, np.float32(seq % 200 / 100 - 1)
    asked_at_s = time.monotonic()
    action = client.act(seq, image, state, asked_at_s, asked_at_s + SOON_S)
    took_s = time.monotonic() - asked_at_s
    if action is None:
        return "silent", took_s
    expected = (seq % 256 / 255, state[0])
    right = (action.seq, action.captured_at_s) == (seq, asked_at_s) and np.allclose(action.action, expected, atol=1e-6)
    return "right" if right else "wrong", took_s


def _figures(results: list[tuple[str, float]]) -> Figures:
    verdicts = [verdict for verdict, _ in results]
    p50_s, p99_s = np.percentile([took_s for _, took_s in results] or [0.0], [50, 99])
    return Figures(*(verdicts.count(v) for v in ("right", "wrong", "silent")), float(p50_s), float(p99_s))


@contextmanager
def flooding(address: str) -> Iterator[None]:
    """A client in a process of its own that sends frames as fast as it is let, and reads no answer."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_flood, args=(address, theirs))
    process.start()
    try:
        assert ours.recv() == "under way"
        yield
    finally:
        process.kill()
        process.join()


def _flood(address: str, pipe: Connection) -> None:
    with zmq.Context() as context, connect(context, zmq.DEALER, address, queue=64) as socket:
        for seq in count(1):
            socket.send_multipart(pack(Act(seq, 0.0), STATE, IMAGE))
            if seq == 1000:
                pipe.send("under way")


def scraped(url: str) -> dict[str, float]:
    """What Prometheus would read there."""
    with urllib.request.urlopen(url, timeout=SOON_S) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}
