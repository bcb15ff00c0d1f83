"""Whether a 100 Hz control loop keeps its time beside two busy cores, with and without the kernel's help.

    python -m benchmarks.pace --minutes 10 --write

Everything runs as on a car: `lapwing serve` and `lapwing drive` with all checks and the log, the simulated car in its
own process. The car creeps straight on, so that it is in its lane for ten minutes.
"""

import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.faults import FAST
from benchmarks.runs import markdown, write_page
from benchmarks.serving_kill import free_port
from deploy.driving.safety import STANDSTILL
from deploy.log.entries import Entry
from deploy.log.reader import read_log
from tests.deploy.policies import SPEC, constant_policy

PAGE = Path("docs/safety.md")
CREEP = -0.99  # speed set-point: 0.014 m/s, 8 m in ten minutes, in which the lane is straight enough
BUSY = 2  # processes that only compute


@dataclass(frozen=True)
class PaceConfig:
    minutes: float = 0.25  # of each of the two drives
    write: bool = False  # put the table into docs/safety.md
    json: bool = False  # print one JSON object at the end


@dataclass(frozen=True)
class Pace:
    """How one drive kept its time."""

    ticks: int  # that were due
    missed: int  # that never were: the loop was still busy, or asleep
    missed_without_steal: int  # the hypervisor took nothing from the machine meanwhile
    unanswered: int  # without an action in time
    stops: int
    unsafe: int  # ticks in which the motors were told to move though no good action was younger than the watchdog
    late_p50_us: float
    late_p99_us: float
    late_max_ms: float
    steal_s: float


def compute() -> None:
    while True:
        pass


@contextmanager
def busy_cores() -> Iterator[None]:
    processes = [multiprocessing.Process(target=compute, daemon=True) for _ in range(BUSY)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def drive_for(seconds: float, realtime: bool) -> list[Entry]:
    """The log of a drive that long, at 100 Hz."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lapwing-")))
        spec = msgspec.structs.replace(SPEC, period_s=FAST.period_s)
        policy = constant_policy(folder / "policy.onnx", steering=0.0, speed=0.0, spec=spec)
        address = f"tcp://127.0.0.1:{free_port()}"
        how = ["--realtime" if realtime else "--no-realtime"]
        serve = ["serve", "--policy", str(policy), "--bind", address, *how]
        server = stack.enter_context(
            subprocess.Popen([sys.executable, "-m", "lapwing", *serve], stdout=subprocess.DEVNULL)
        )
        stack.callback(server.kill)
        options = {
            "server": address,
            "out": folder / "drive",
            "deadline-s": FAST.deadline_s,
            "watchdog-s": FAST.watchdog_s,
            "max-speed": CREEP,
            "time-limit-s": seconds,
        }
        given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "lapwing", "drive", *given, "--no-video", *how]
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return read_log(folder / "drive" / "drive.mcap")


def pace_of(entries: list[Entry]) -> Pace:
    gaps = [(now.tick - before.tick - 1, now.steal_ms) for before, now in pairwise(entries)]
    late_us = np.array([entry.lateness_ms for entry in entries]) * 1e3
    p50, p99, most = np.percentile(late_us, [50, 99, 100]).tolist()
    return Pace(
        ticks=entries[-1].tick - entries[0].tick + 1,
        missed=sum(missed for missed, _ in gaps),
        missed_without_steal=sum(missed for missed, steal_ms in gaps if steal_ms == 0),
        unanswered=sum(entry.action is None for entry in entries),
        stops=sum(now.safety == "safe_stop" != before.safety for before, now in pairwise(entries)),
        unsafe=unsafe(entries),
        late_p50_us=p50,
        late_p99_us=p99,
        late_max_ms=most / 1e3,
        steal_s=sum(entry.steal_ms for entry in entries) / 1e3,
    )


def unsafe(entries: list[Entry]) -> int:
    """Counted by what the vehicle says its motors got, and by the answers; not by what the safety machine thought."""
    found, good_until_s = 0, 0.0
    for entry in entries:
        if entry.action and entry.fault is None:
            good_until_s = entry.inputs.now_s + FAST.watchdog_s
        found += entry.sent[1] > STANDSTILL and entry.inputs.now_s > good_until_s
    return found


def table(paces: dict[str, Pace]) -> Table:
    shown = Table("", *paces)
    for name in Pace.__dataclass_fields__:
        figures = [getattr(pace, name) for pace in paces.values()]
        shown.add_row(name, *(f"{figure:,}" if isinstance(figure, int) else f"{figure:,.4g}" for figure in figures))
    return shown


def main(config: PaceConfig) -> None:
    console, paces = Console(), {}
    with busy_cores():
        for name, realtime in (("SCHED_FIFO", True), ("ordinary", False)):
            console.print(
                f"{name}: {config.minutes:g} minutes at 100 Hz beside {BUSY} busy processes, until "
                f"{time.strftime('%H:%M:%S', time.localtime(time.time() + 60 * config.minutes))}"
            )
            paces[name] = pace_of(drive_for(60 * config.minutes, realtime))
    console.print(table(paces))
    if config.write:
        write_page(PAGE, "benchmarks.pace", markdown(table(paces)))
    if config.json:
        print(json.dumps({name: vars(pace) for name, pace in paces.items()}))  # noqa: T201


if __name__ == "__main__":
    main(tyro.cli(PaceConfig))
