"""Servo and speed controller on a PCA9685 board, in a process that stops the car when nobody commands it."""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deploy.driving.safety import STANDSTILL, Command
from deploy.hardware.calibration import Calibration
from deploy.realtime import WATCHDOG, realtime
from deploy.vehicles import LONGEST_COMMAND_S, VehicleError

STEPS = 4096  # of a pulse's period: the board counts in 12 bits
INSIST_S = 5.0  # that a board which does not answer is told to stop, again and again
AGAIN_S = 0.01
NOT_STOPPED = "the car could NOT be stopped; cut its power"

OpenBus = Callable[[int], Any]  # number of an I2C bus -> what the board's driver calls an I2C


def linux_bus(number: int) -> Any:
    """/dev/i2c-NUMBER, for one program alone. Raises OSError where there is none, or where it may not be used."""
    from adafruit_blinka.microcontroller.generic_linux.i2c import I2C  # of the extra `pwm`

    class Bus(I2C):
        """With the lock that the driver asks for; the kernel lets one write in at a time."""

        def try_lock(self) -> bool:
            return True

        def unlock(self) -> None:
            pass

    try:
        return Bus(number)
    except RuntimeError as error:
        raise FileNotFoundError(f"/dev/i2c-{number} is not there; enable I2C") from error


class Motors:
    """Turns commands into pulses; when one expires the car brakes, if its ESC can, then is told neutral.

    Both are counted in whole steps of the board, so `obey` tells what they really were. `due_s` is the moment
    (monotonic) when `expire` must be called, None while the car stands. Any call may raise OSError.
    """

    def __init__(self, bus: Any, calibration: Calibration) -> None:
        from adafruit_pca9685 import PCA9685  # of the extra `pwm`

        self.due_s: float | None = None
        self._state: Literal["standing", "driving", "braking"] = "standing"
        self._calibration = calibration
        board = PCA9685(bus, address=calibration.address, reference_clock_speed=round(calibration.oscillator_hz))
        board.frequency = calibration.frequency_hz
        self._step_us = 1e6 / board.frequency / STEPS
        self._servo = board.channels[calibration.steering_channel]
        self._esc = board.channels[calibration.throttle_channel]
        self.stop()
        self._steer(0.0)

    def obey(self, command: Command, now_s: float) -> NDArray[np.float32]:
        """Steer and drive as told, unless the command has expired; returns what the motors received, (2,)."""
        steering = self._steer(command.steering)
        if command.speed > STANDSTILL and now_s < command.expires_at_s:
            self._state, self.due_s = "driving", min(command.expires_at_s, now_s + LONGEST_COMMAND_S)
            return np.array([steering, self._drive(command.speed)], np.float32)
        if self._state == "driving":
            self.expire(now_s)
        elif self._state == "standing":
            self.stop()
        return np.array([steering, STANDSTILL], np.float32)

    @property
    def driving(self) -> bool:
        """Whether the car moves by a command that has not expired yet."""
        return self._state == "driving"

    def expire(self, now_s: float) -> None:
        """Nobody commands the car any more: brake, or end braking."""
        if self._state == "driving" and self._calibration.brake_us is not None:
            self._pulse(self._esc, self._steps(self._calibration.brake_us))
            self._state, self.due_s = "braking", now_s + self._calibration.brake_s
        else:
            self.stop()

    def stop(self) -> None:
        """Tell the ESC neutral."""
        self._pulse(self._esc, self._steps(self._calibration.stop_us))
        self._state, self.due_s = "standing", None

    def _steer(self, steering: float) -> float:
        told = self._calibration
        end_us = told.left_us if steering >= 0 else told.right_us
        part = self._between(self._servo, told.centre_us, end_us, abs(steering))
        return part if steering >= 0 else -part

    def _drive(self, speed: float) -> float:
        told = self._calibration
        return 2 * self._between(self._esc, told.stop_us, told.forward_us, (speed + 1) / 2) - 1

    def _between(self, channel: Any, from_us: float, to_us: float, part: float) -> float:
        """Put out the pulse that comes nearest to `part` of the way between two; returns which part it is."""
        first, last = self._steps(from_us), self._steps(to_us)
        steps = round(first + min(max(part, 0.0), 1.0) * (last - first))
        self._pulse(channel, steps)
        return (steps - first) / (last - first) if last != first else 0.0

    def _steps(self, pulse_us: float) -> int:
        return round(pulse_us / self._step_us)

    def _pulse(self, channel: Any, steps: int) -> None:
        channel.duty_cycle = steps << 4  # of the driver's 16 bits the board has the upper 12


def live(pipe: Connection, calibration: Calibration, open_bus: OpenBus) -> None:
    """The process that owns the bus: obeys commands until the other end of the pipe is closed, and always stops.

    What goes wrong is told as a VehicleError, and ends it; that the car could not be stopped also on standard error, as
    the loop may be gone.
    """
    os.setsid()  # the terminal's Ctrl-C, Ctrl-Z and hang-up are for the loop; this process is to outlive it
    signal.signal(signal.SIGTERM, _end)
    where = f"servo board at address {calibration.address:#x} of I2C bus {calibration.i2c_bus}"
    try:
        motors = Motors(open_bus(calibration.i2c_bus), calibration)
    except (OSError, ValueError) as error:
        return pipe.send(VehicleError(f"{where} does not answer: {error}"))
    with realtime(WATCHDOG):
        try:
            with suppress(EOFError, ConnectionError):
                time.sleep(calibration.arming_s)
                pipe.send("ready")
                _obey(pipe, motors)
        except OSError as error:
            with suppress(ConnectionError):
                pipe.send(VehicleError(f"{where} does not answer any more: {error}"))
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing is to interrupt what follows
            if not come_to_rest(motors):
                sys.exit(f"{where} does not answer: {NOT_STOPPED}")


def _end(number: int, _frame: object) -> None:
    """Leave by way of what brings the car to rest."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit()


def _obey(pipe: Connection, motors: Motors) -> None:
    while True:
        wait_s = None if motors.due_s is None else max(motors.due_s - time.monotonic(), 0.0)
        if pipe.poll(wait_s):
            pipe.send(motors.obey(pipe.recv(), time.monotonic()))
        if motors.due_s is not None and time.monotonic() >= motors.due_s:
            motors.expire(time.monotonic())


def come_to_rest(motors: Motors) -> bool:
    """Brake as if the command had expired, let braking last its time, then tell neutral; whether the board heard it."""
    if motors.driving and not insist(lambda: motors.expire(time.monotonic())):
        return False
    if motors.due_s is not None:
        time.sleep(max(motors.due_s - time.monotonic(), 0.0))
    return insist(motors.stop)


def insist(stop: Callable[[], object]) -> bool:
    """Try again for a while what a loose wire may have spoiled; whether it succeeded."""
    until_s = time.monotonic() + INSIST_S
    while time.monotonic() < until_s:
        try:
            stop()
        except (OSError, ValueError):  # the latter from the driver, if the board is not there at all
            time.sleep(AGAIN_S)
        else:
            return True
    return False
