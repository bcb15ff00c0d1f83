"""A radio-controlled car: servo and speed controller on a PCA9685 board, and a camera that OpenCV can read."""

from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from math import isfinite
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.driving.safety import Command
from deploy.hardware.calibration import Calibration, read_calibration
from deploy.hardware.estimate import Estimate
from deploy.hardware.framing import fit
from deploy.hardware.motors import INSIST_S, NOT_STOPPED, Motors, OpenBus, insist, linux_bus, live
from deploy.hardware.webcam import Webcam, open_camera
from deploy.vehicles import LONGEST_COMMAND_S, Frame, VehicleError, VehicleSpec

START_S = 30.0  # to wait for the motors' process, beside the time that the ESC takes
ANSWER_S = 0.5  # a write to the board takes 1 ms; a process that says nothing for so long is dead or stopped


class PwmCar:
    """See `deploy.vehicles.Vehicle`; it measures neither speed nor steering, so frames have those of an `Estimate`.

    The motors are in a process of their own (`deploy.hardware.motors`): however the control loop dies, or is stopped,
    the car is told to stop when its command expires. Should that process die, the next `send` stops the car from here.
    open_bus, open_camera: what a test exchanges; the first must be picklable.
    Raises CalibrationError, and VehicleError if board or camera is not there.
    """

    def __init__(
        self,
        road_seed: int = 0,
        length_m: float = 0.0,
        calibration: Path = Path("car.toml"),
        open_bus: OpenBus = linux_bus,
        open_camera: Callable[[Calibration], Any] = open_camera,
    ) -> None:
        if find_spec("adafruit_pca9685") is None:
            raise VehicleError('vehicle pwm needs the driver of its servo board: pip install "lapwing[pwm]"')
        told = read_calibration(calibration)
        self.spec = VehicleSpec(
            told.image_height,
            told.image_width,
            told.top_speed_mps,
            told.max_steering_rad,
            told.max_steering_rate_radps,
        )
        self._calibration, self._open_bus = told, open_bus
        self._estimate = Estimate(self.spec, told.speed_lag_s)
        self._webcam = Webcam(lambda: open_camera(told))
        try:
            self._start()
        except VehicleError:
            self.close()
            raise

    def read(self) -> Frame:
        """The camera's newest picture, fitted to the policy. Raises VehicleError once the camera gives no more."""
        image, captured_at_s = self._webcam.newest()
        speed_mps, steering_rad = self._estimate.at(captured_at_s)
        return Frame(
            fit(image, self.spec.image_height, self.spec.image_width), speed_mps, steering_rad, captured_at_s, None
        )

    def send(self, command: Command) -> NDArray[np.float32]:
        """Drive by `command` until it expires, for `LONGEST_COMMAND_S` at most; returns what the pulses were, (2,).

        Raises VehicleError when the board does not answer any more, ValueError for a command that is no number.
        """
        if not isfinite(command.steering + command.speed):
            raise ValueError(f"command is {command}; expected two numbers")
        sent = self._ask(command)
        now_s = monotonic()
        expires_at_s = min(command.expires_at_s, now_s + LONGEST_COMMAND_S)
        self._estimate.told(float(sent[0]), float(sent[1]), now_s, expires_at_s)
        return sent

    def picture(self) -> NDArray[np.uint8]:
        """All that the camera saw last, (height, width, 3) RGB."""
        return self._webcam.newest().image

    def close(self) -> None:
        """Bring the car to rest, and let go of board and camera."""
        self._pipe.close()
        self._process.join(timeout=2 * INSIST_S + self._calibration.brake_s + 1)
        self._process.kill()  # that it hangs `send` has noticed, and stopped the car
        self._process.join()
        self._process.close()
        self._webcam.close()

    def _start(self) -> None:
        context = get_context("spawn")  # a fork would share the threads and sockets of the control loop
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=live, args=(theirs, self._calibration, self._open_bus), daemon=True)
        self._process.start()
        theirs.close()
        self._answer(START_S + self._calibration.arming_s)

    def _ask(self, command: Command) -> NDArray[np.float32]:
        with suppress(ConnectionError):  # it has died, which the answer tells too
            self._pipe.send(command)
        return self._answer(ANSWER_S)

    def _answer(self, within_s: float) -> Any:
        """What the motors' process says; if it has died or is stopped, the car is stopped from here."""
        answer = None
        with suppress(EOFError, ConnectionError):
            answer = self._pipe.recv() if self._pipe.poll(within_s) else None
        if answer is None:
            stopped = insist(lambda: Motors(self._open_bus(self._calibration.i2c_bus), self._calibration))
            what = "the car was stopped in its stead" if stopped else NOT_STOPPED
            raise VehicleError(f"the process that owns the motors died or hung; {what}")
        if isinstance(answer, VehicleError):
            raise answer
        return answer
