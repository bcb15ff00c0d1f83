"""What the dashboard costs the control loop, and how soon a car that is driven by hand stops when its page is lost.

    python -m benchmarks.dashboard --write     # and put both tables into docs/dashboard.md
    python -m benchmarks.dashboard --losses 0 --json

Costs: the dashboard's process is real, nobody has its page open, pictures of 64×64. Losses: a real control loop at
10 Hz, a real headless Chromium (which must be there), the simulated car in real time.
"""

import json
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.runs import markdown, write_page
from benchmarks.witness import wait_for
from deploy.dashboard.process import opened
from deploy.dashboard.seat import DashboardSeat
from deploy.driving.controls import Controls
from deploy.driving.loop import Tick
from deploy.vehicles import Frame
from tests.deploy.dashboard.browser import (
    LOSSES,
    chromium,
    driving,
    open_page,
    signal_browser,
    take_the_wheel,
)
from tests.deploy.entries import entry, image

PAGE = Path("docs/dashboard.md")
BY_HAND_MPS = 1.2  # the policy drives 1.1

LONG_AGO_S = 1.0  # between two ticks that are shown, on the clock that the seat is told
ROUNDS_S = 0.002  # between two measurements, for the other process to keep up


@dataclass(frozen=True)
class DashboardCostConfig:
    rounds: int = 1000  # of each cost
    losses: int = 3  # times that each loss happens; 0 = costs only
    write: bool = False  # put the tables into docs/dashboard.md
    json: bool = False  # print one JSON object at the end


def measured_us(act: Callable[[], object], rounds: int) -> list[float]:
    """Microseconds that it took, each time."""
    took_us = []
    for _ in range(rounds):
        time.sleep(ROUNDS_S)
        began_s = time.perf_counter()
        act()
        took_us.append((time.perf_counter() - began_s) * 1e6)
    return took_us


def costs_us(rounds: int) -> dict[str, list[float]]:
    """What each thing takes in the control loop, microseconds each time."""
    now_s = [0.0]
    tick = Tick(entry(1), Frame(image(1), 2.0, 0.0, 0.1, None))
    with opened(0) as link:
        seat, controls = DashboardSeat(link, lambda: now_s[0]), Controls()

        def shown() -> None:
            now_s[0] += LONG_AGO_S
            seat.show(tick)

        return {
            "a tick that is shown": measured_us(shown, rounds),
            "a tick that is only counted": measured_us(lambda: seat.show(tick), rounds),
            "hearing that nothing was pressed": measured_us(lambda: seat.poll(controls, 0.0), rounds),
        }


def stop_ms(loss: str) -> float:
    """From the loss of the page until the car was commanded to stand, or its last command ran out."""
    with (
        tempfile.TemporaryDirectory(prefix="lapwing-") as folder,
        driving(Path(folder)) as drive,
        chromium() as browser,
    ):
        page = open_page(browser, drive.url)
        take_the_wheel(page)
        wait_for(lambda: drive.witness.speed_mps > BY_HAND_MPS)
        lost_at_s = time.monotonic()
        try:
            LOSSES[loss](page, drive)
            return drive.stop_after_s(lost_at_s) * 1e3
        finally:
            signal_browser(signal.SIGCONT)


def main(config: DashboardCostConfig) -> None:
    console = Console()
    costs = Table("in the control loop", "median, µs", "p99, µs")
    figures = {name: np.percentile(took, [50, 99]).tolist() for name, took in costs_us(config.rounds).items()}
    for name, (p50_us, p99_us) in figures.items():
        costs.add_row(name, f"{p50_us:.0f}", f"{p99_us:.0f}")
    lost = Table("while the page drives", "stop, ms")
    stops_ms = {loss: [stop_ms(loss) for _ in range(config.losses)] for loss in LOSSES if config.losses}
    for loss, found in stops_ms.items():
        lost.add_row(loss, f"{statistics.median(found):.0f} ({max(found):.0f})")
    console.print(costs, lost)
    if config.write:
        write_page(PAGE, "benchmarks.dashboard", f"{markdown(lost)}\n\n{markdown(costs)}")
    if config.json:
        print(json.dumps({"costs_us": figures, "stops_ms": stops_ms}))  # noqa: T201


if __name__ == "__main__":
    main(tyro.cli(DashboardCostConfig))
