"""How soon the pwm car's ESC is told to stop: when a command expires, and when the control loop is killed.

    python -m benchmarks.pwm_stop [--json]

On a fake servo board, with the real processes: the moment is that at which the bytes of the stop pulse go onto the bus,
which at 100 kHz takes another 0.5 ms for them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median

from deploy.driving.safety import Command
from deploy.vehicles.pwm import PwmCar
from tests.deploy.boards import FORWARD, STOP, FakeCapture, PipedBoard, esc, write_calibration
from tests.deploy.vehicles.test_pwm import LOOP, Listener

EXPIRIES, KILLS = 300, 10
FOR_S = 0.03  # that a command lasts

# ruff: noqa: T201 (a benchmark prints)


def expiries(folder: Path) -> tuple[list[float], list[float]]:
    """Milliseconds from sending a command to knowing what was sent, and from its expiry to the stop pulse."""
    trips_ms, late_ms = [], []
    with closing(Listener(folder)) as bus:
        board = partial(PipedBoard, bus.path)
        with closing(PwmCar(0, 0.0, write_calibration(folder), board, lambda _: FakeCapture())) as car:
            for _ in range(EXPIRIES):
                sent_at_s = time.monotonic()
                car.send(Command(0.1, 1.0, sent_at_s + FOR_S))
                trips_ms.append((time.monotonic() - sent_at_s) * 1e3)
                bus.until(esc(FORWARD))
                late_ms.append((bus.until(esc(STOP))[0] - sent_at_s - FOR_S) * 1e3)
    return trips_ms, late_ms


def kill(folder: Path) -> float:
    """Milliseconds from kill -9 of a control loop, whose command would last, to the stop pulse."""
    command = [sys.executable, "-c", LOOP, write_calibration(folder), folder / "i2c", "1e6"]
    with closing(Listener(folder)) as bus, subprocess.Popen(command, stdout=subprocess.DEVNULL) as loop:
        bus.until(esc(FORWARD))
        killed_at_s = time.monotonic()
        loop.kill()
        return (bus.until(esc(STOP))[0] - killed_at_s) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    with tempfile.TemporaryDirectory() as folder:
        trips_ms, late_ms = expiries(Path(folder))
    killed_ms = []
    for _ in range(KILLS):
        with tempfile.TemporaryDirectory() as folder:
            killed_ms.append(kill(Path(folder)))
    figures = {"send_ms": trips_ms, "stop_after_expiry_ms": late_ms, "stop_after_kill_ms": killed_ms}
    told = {name: {"p50": round(median(each), 2), "max": round(max(each), 2)} for name, each in figures.items()}
    if parser.parse_args().json:
        print(json.dumps(told))
        return
    for name, each in told.items():
        print(f"{name:22} {each['p50']:7.2f} median {each['max']:7.2f} at most")


if __name__ == "__main__":
    main()
