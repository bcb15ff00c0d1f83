"""A vehicle that somebody else watches: who is told every frame, and what the motors were sent for it."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from deploy.safety import Command
from deploy.vehicles import Frame, Vehicle, VehicleSpec

Watcher = Callable[[Frame, NDArray[np.float32]], None]  # called after the motors have what they were sent
Watch = Callable[[VehicleSpec, float], AbstractContextManager[Watcher]]  # of such a vehicle, every so many seconds


class Watched:
    """The vehicle itself, see `deploy.vehicles.Vehicle`."""

    def __init__(self, car: Vehicle, watcher: Watcher) -> None:
        self._car, self._watcher = car, watcher
        self._frame: Frame | None = None
        self.spec = car.spec
        self.picture, self.close = car.picture, car.close

    def read(self) -> Frame:
        self._frame = self._car.read()
        return self._frame

    def send(self, command: Command) -> NDArray[np.float32]:
        sent = self._car.send(command)
        if self._frame is not None:
            self._watcher(self._frame, sent)
        return sent
