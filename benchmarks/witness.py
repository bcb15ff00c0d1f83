"""A simulated car that outlives whatever drives it, and remembers what it was told and how it moved.

The world is here, in the process of the benchmark; the control loop is another process and reaches it through a socket,
so that it can be killed, or stopped in the middle of a tick, while somebody watches what the car does then.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Client, Listener
from pathlib import Path
from threading import Thread
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from deploy.driving.drive import DriveConfig, drive
from deploy.driving.safety import STANDSTILL, Command
from deploy.vehicles import VEHICLES, Frame
from deploy.vehicles.simulated import RealTimeWorld

Ailment = Literal["frozen", "black", "wrong size"]  # of the camera
ADDRESS = "LAPWING_WITNESS"  # environment variable: where the world listens
LOOK_S = 0.002  # how often the world looks at how fast the car is, and others look at the world
SOON_S = 30.0  # more than anything here takes, however slow the machine


def wait_for(what: Callable[[], object]) -> None:
    """Until that is so. Raises TimeoutError."""
    until_s = time.monotonic() + SOON_S
    while not what():
        if time.monotonic() > until_s:
            raise TimeoutError("it did not happen")
        time.sleep(LOOK_S)


class Witness:
    """Holds the world, answers one control loop at a time, and watches; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "world")
        self.commands: list[tuple[float, Command]] = []  # when they arrived (monotonic), and what they say
        self.speeds: list[tuple[float, float]] = []  # when, m/s
        self.ailment: Ailment | None = None
        self._last = np.zeros(0, np.uint8)  # what the camera showed last
        self._listener = Listener(self.address)
        self._over = False
        self._thread = Thread(target=self._run, name="witness")

    def __enter__(self) -> "Witness":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        if not self.commands:  # nobody may ever have come
            Client(self.address).close()
        self._thread.join()
        self._listener.close()

    @property
    def speed_mps(self) -> float:
        """As it is now."""
        return self.speeds[-1][1] if self.speeds else 0.0

    def stop_after_s(self, moment_s: float) -> float | None:
        """From that moment until the car was commanded to stand, or its command ran out; None as long as it drives."""
        told = [(moment_s, command) for at_s, command in self.commands if at_s <= moment_s][-1:]
        told += [(at_s, command) for at_s, command in self.commands if at_s > moment_s]
        ends_s = [at_s for at_s, _ in told[1:]] + [time.monotonic()]
        for (at_s, command), end_s in zip(told, ends_s, strict=True):
            if command.speed <= STANDSTILL:
                return at_s - moment_s
            if command.expires_at_s < end_s:
                return max(command.expires_at_s - moment_s, 0.0)
        return None

    def rest_after_s(self, moment_s: float) -> float | None:
        """From that moment until the car stood."""
        return next((at_s - moment_s for at_s, speed in self.speeds if at_s > moment_s and abs(speed) < 0.05), None)

    def stays_put(self, cycles: int) -> bool:
        """Wait for so many commands more; whether all say to stand."""
        told = len(self.commands)
        wait_for(lambda: len(self.commands) >= told + cycles)
        return all(command.speed == STANDSTILL for _, command in self.commands[told:])

    def _run(self) -> None:
        world = RealTimeWorld(road_seed=0, length_m=250.0)
        with self._listener.accept() as pipe:
            pipe.send(world.spec)
            while not self._over:
                if not self._answered(pipe, world):
                    world.live()
                self.speeds.append((time.monotonic(), world.speed_mps))
        world.close()

    def _answered(self, pipe: Any, world: RealTimeWorld) -> bool:
        """Whether the loop has asked something, which is done; a loop that is gone asks nothing."""
        try:
            if not pipe.poll(LOOK_S):
                return False
            verb, *arguments = pipe.recv()
            if verb == "send":
                self.commands.append((time.monotonic(), arguments[0]))
            answer = getattr(world, verb)(*arguments)
            pipe.send(self._ailing(answer) if verb == "read" else answer)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            time.sleep(LOOK_S)
            return False
        return True

    def _ailing(self, frame: Frame) -> Frame:
        """What a sick camera makes of it; the car sees on without truth, as one that left its lane is not at issue."""
        frame = replace(frame, truth=None)
        match self.ailment:
            case "frozen":
                return replace(frame, image=self._last)
            case "black":
                return replace(frame, image=np.zeros_like(frame.image))
            case "wrong size":
                return replace(frame, image=np.zeros((120, 160, 3), np.uint8))
        self._last = frame.image
        return frame


class WitnessedCar:
    """The car of a `Witness`, as the control loop knows it, see `deploy.vehicles.Vehicle`."""

    def __init__(self, road_seed: int, length_m: float) -> None:
        self._pipe = Client(os.environ[ADDRESS])
        self.spec = self._pipe.recv()

    def read(self) -> Frame:
        return self._ask("read")

    def send(self, command: Command) -> NDArray[np.float32]:
        return self._ask("send", command)

    def picture(self) -> NDArray[np.uint8]:
        return self._ask("picture")

    def close(self) -> None:
        self._pipe.close()

    def _ask(self, verb: str, *arguments: Any) -> Any:
        self._pipe.send((verb, *arguments))
        return self._pipe.recv()


if __name__ == "__main__":  # the control loop: python -m benchmarks.witness '{"server": …}'
    VEHICLES["witnessed"] = "benchmarks.witness:WitnessedCar"
    config = msgspec.json.decode(sys.argv[1], type=DriveConfig, dec_hook=lambda kind, text: kind(text))
    sys.exit(not drive(replace(config, vehicle="witnessed", video=False)).succeeded)
