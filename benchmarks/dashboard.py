"""What the dashboard costs the control loop: a tick shown, a tick only counted, and what is pressed heard.

    python -m benchmarks.dashboard --json

The dashboard's process is real; nobody has its page open. 64×64 pictures, ticks as fast as they are told.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from deploy.controls import Controls
from deploy.dashboard.process import opened
from deploy.dashboard.seat import DashboardSeat
from deploy.loop import Tick
from deploy.vehicles import Frame
from tests.deploy.entries import entry, image

LONG_AGO_S = 1.0  # between two ticks that are shown, on the clock that the seat is told
ROUNDS_S = 0.002  # between two measurements, for the other process to keep up


@dataclass(frozen=True)
class DashboardCostConfig:
    rounds: int = 1000  # of each
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


def main(config: DashboardCostConfig) -> None:
    console, now_s = Console(), [0.0]
    tick = Tick(entry(1), Frame(image(1), 2.0, 0.0, 0.1, None))
    with opened(0) as link:
        seat, controls = DashboardSeat(link, lambda: now_s[0]), Controls()

        def shown() -> None:
            now_s[0] += LONG_AGO_S
            seat.show(tick)

        costs_us = {
            "a tick that is shown": measured_us(shown, config.rounds),
            "a tick that is only counted": measured_us(lambda: seat.show(tick), config.rounds),
            "hearing that nothing was pressed": measured_us(lambda: seat.poll(controls, 0.0), config.rounds),
        }
    table = Table("in the control loop", "median, µs", "p99, µs")
    figures = {name: np.percentile(took_us, [50, 99]).tolist() for name, took_us in costs_us.items()}
    for name, (p50_us, p99_us) in figures.items():
        table.add_row(name, f"{p50_us:.0f}", f"{p99_us:.0f}")
    console.print(table)
    if config.json:
        print(json.dumps(figures))  # noqa: T201


if __name__ == "__main__":
    main(tyro.cli(DashboardCostConfig))
