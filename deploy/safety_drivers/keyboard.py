"""A safety driver at the keyboard of the terminal."""

import os
import select
import sys
import termios
import tty
from collections import deque

from deploy.safety_drivers import Phase, Request, SafetyConfig, SafetyDriverError, Task, helper_for
from deploy.vehicles import Frame, Vehicle

KEYS: dict[bytes, Request] = {
    b"t": "train",
    b"e": "test",
    b"u": "undo",
    b"d": "done",
    b"p": "pause",
    b"f": "finished",
}


class KeyboardDriver:
    """Reads single keys while it is open; while the car drives, any key ends the episode.

    Asking for a task says that the car is where it begins; a simulated one is put there. Raises SafetyDriverError
    where standard input is no terminal.
    """

    hint = (
        "keys: t train, e test, u undo, d done, p pause, f end of the route; while the car drives any other takes over"
    )

    def __init__(self, car: Vehicle, config: SafetyConfig) -> None:
        self._keys = sys.stdin.fileno()
        if not os.isatty(self._keys):
            raise SafetyDriverError(
                "standard input is no terminal; expected one for the keyboard, or --safety.driver scripted"
            )
        self._helper = helper_for(car, config)
        self._pressed: deque[Request] = deque()
        self._before = termios.tcgetattr(self._keys)
        tty.setcbreak(self._keys)

    def watch(self, frame: Frame, phase: Phase, task: Task) -> Request | None:
        """See `SafetyDriver`; keys are heard one per control period, and forgotten once one has stopped the car."""
        placed = self._helper is None or self._helper.see(frame, phase, task)
        self._listen()
        if self._pressed:
            pressed = self._pressed.popleft()
            if phase == "driving":
                self._pressed.clear()
            return pressed
        if phase == "driving" and frame.truth and frame.truth.finished:
            return "finished"
        return "in place" if phase == "placing" and placed else None

    def close(self) -> None:
        """Give the terminal back as it was."""
        termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)

    def _listen(self) -> None:
        while select.select([self._keys], [], [], 0)[0] and (keys := os.read(self._keys, 64)):
            self._pressed.extend(KEYS.get(bytes([key]), "takeover") for key in keys)
