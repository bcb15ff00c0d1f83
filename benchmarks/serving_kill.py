"""What becomes of a driving car whose policy server is killed: how soon it is told to stop, and driven well again.

The control loop of `lapwing drive` drives the simulated car, which lives in real time and in its own process, at 100 Hz
with an age limit of 30 ms; a supervisor starts `lapwing serve` anew as soon as it has ended. Both moments are taken
when the vehicle has answered: to the first command to stand still, and to the first valid action of the new server.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Lock, Thread, Timer
from typing import NamedTuple

import msgspec
import zmq

from benchmarks.faults import FAST
from deploy.client import PolicyClient
from deploy.clock import no_collections
from deploy.driving.controls import Controls
from deploy.driving.loop import ControlLoop, Tick
from deploy.driving.safety import STANDSTILL, Limits
from deploy.realtime import pinned, realtime, sockets_too
from deploy.vehicles import Movable, open_vehicle

GOOD_TICKS = 30  # that the car drives before the server is killed
HELLO_S = 30.0
PATIENCE_S = 20.0  # that a killed server may take to be back


class Outage(NamedTuple):
    """One kill -9 of the server; ms from it."""

    stop_ms: float  # until the car was commanded to stop
    recover_ms: float  # until good actions were back


class TooLong(RuntimeError):
    """What was waited for has not come."""


class Supervised:
    """A policy server that is started anew whenever it ends."""

    def __init__(self, command: list[str]) -> None:
        self._command, self._ending, self._starting = command, False, Lock()
        self._process = self._start()
        self._thread = Thread(target=self._watch)
        self._thread.start()

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        with self._starting:
            self._ending = True
            self.kill()
        self._thread.join()

    def _start(self) -> subprocess.Popen:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(self._command, stdout=subprocess.DEVNULL, env=environment)

    def _watch(self) -> None:
        while True:
            self._process.wait()
            with self._starting:
                if self._ending:
                    return
                self._process = self._start()


def outages(policy: Path, kills: int, rng: random.Random) -> list[Outage]:
    """Kill the server of a driving car so many times."""
    address = f"tcp://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "lapwing", "serve", "--policy", str(policy), "--bind", address]
    with closing(Supervised(command)) as server, driving(address) as loop:
        return [outage(loop, server, rng) for _ in range(kills)]


@contextmanager
def driving(address: str) -> Iterator[ControlLoop]:
    """A simulated car with its control loop, as `lapwing drive` has it. All that depends on that loop is here."""
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        stack.enter_context(realtime())
        sockets_too(context)
        client = stack.enter_context(PolicyClient(context, address))
        spec = msgspec.structs.replace(client.hello(HELLO_S).spec, period_s=FAST.period_s)
        car = stack.enter_context(closing(open_vehicle("simulated", road_seed=0, length_m=250.0)))
        car.read()
        limits = Limits(spec.max_steering_rad, spec.max_steering_rate_radps, FAST.watchdog_s)
        loop = ControlLoop(car, client, spec, limits, Controls(), [], FAST.deadline_s, armed=True)
        stack.enter_context(closing(loop))
        stack.enter_context(no_collections())
        stack.enter_context(pinned())
        yield loop


def outage(loop: ControlLoop, server: Supervised, rng: random.Random) -> Outage:
    """Put the car on the road, drive, kill the server at a random moment of a period, and drive on until it is back."""
    assert isinstance(loop.car, Movable)
    loop.car.put_back(0.0)
    for _ in range(GOOD_TICKS):
        until(loop, driven)
    killed_at_s: list[float] = []

    def kill() -> None:
        killed_at_s.append(time.monotonic())
        server.kill()

    timer = Timer(rng.uniform(0, FAST.period_s), kill)
    timer.start()
    stopped_at_s = until(loop, lambda now: now.entry.command.speed == STANDSTILL)
    good_at_s = until(loop, lambda now: now.entry.action is not None and now.entry.fault is None)
    timer.join()
    return Outage((stopped_at_s - killed_at_s[0]) * 1e3, (good_at_s - killed_at_s[0]) * 1e3)


def driven(now: Tick) -> bool:
    """Whether the car drives by this cycle's action."""
    return now.entry.safety == "driving" and now.entry.command.speed > STANDSTILL


def until(loop: ControlLoop, done: Callable[[Tick], bool]) -> float:
    """Drive until a cycle of which this is true; when it was over. Raises TooLong."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        if done(loop.tick()):
            return time.monotonic()
    raise TooLong(f"nothing like it within {PATIENCE_S:g} s; safety machine: {loop.memory}")


def free_port() -> int:
    """A TCP port on loopback that nobody listens to now."""
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        return socket.bind_to_random_port("tcp://127.0.0.1")
