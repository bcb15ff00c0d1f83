"""A safety driver at the keyboard of the terminal."""

import time
from collections import deque
from collections.abc import Callable
from typing import get_args

from deploy.safety_drivers import Phase, Request, SafetyConfig, SafetyDriverError, Task, helper_for
from deploy.terminal import Terminal, TerminalError
from deploy.vehicles import Frame, Vehicle

KEYS: dict[bytes, Request] = {
    b"t": "train",
    b"e": "test",
    b"u": "undo",
    b"d": "done",
    b"p": "pause",
    b"f": "finished",
}
CALM_S = 1.0  # without a key, real time; keys that repeat come every 0.03 s, after 0.25 to 0.66 s


class KeyboardDriver:
    """Reads single keys while it is open; while the car drives, any key ends the episode.

    Asking for a task says that the car is where it begins; a simulated one is put there. Once the car has driven, no
    task can be asked for until no key has come for `CALM_S`: who takes over by pressing `t` twice wants it to stop.
    now: real time in seconds, whatever the car's is. Raises SafetyDriverError where standard input is no terminal.
    """

    hint = (
        "keys: t train, e test, u undo, d done, p pause, f end of the route; while the car drives any other takes over"
    )

    def __init__(self, car: Vehicle, config: SafetyConfig, now: Callable[[], float] = time.monotonic) -> None:
        try:
            self._terminal = Terminal()
        except TerminalError as error:
            raise SafetyDriverError(f"{error}; expected one for the keyboard, or --safety.driver scripted") from error
        self._helper = helper_for(car, config)
        self._pressed: deque[Request] = deque()
        self._now, self._stirred_at_s, self._drove = now, float("-inf"), False

    def watch(self, frame: Frame, phase: Phase, task: Task) -> Request | None:
        """See `SafetyDriver`; keys are heard one per control period, and forgotten once one has stopped the car.

        Raises SafetyDriverError when the terminal is gone, and with it who could stop the car.
        """
        placed = self._helper is None or self._helper.see(frame, phase, task)
        self._pressed.extend(self._meant(self._listen(), phase))
        if self._pressed:
            pressed = self._pressed.popleft()
            if phase == "driving":
                self._pressed.clear()
            return pressed
        if phase == "driving" and frame.truth and frame.truth.finished:
            return "finished"
        return "in place" if phase == "placing" and placed else None

    def close(self) -> None:
        """Give the terminal back."""
        self._terminal.close()

    def _meant(self, said: list[Request], phase: Phase) -> list[Request]:
        """What of it counts: no task as long as the keys have not come to rest since the car drove."""
        now_s, driving = self._now(), phase == "driving"
        stirred = driving or self._drove or (bool(said) and now_s - self._stirred_at_s < CALM_S)
        self._stirred_at_s, self._drove = now_s if stirred else self._stirred_at_s, driving
        return [request for request in said if driving or not stirred or request not in get_args(Task)]

    def _listen(self) -> list[Request]:
        """The keys pressed since the last time."""
        try:
            return [KEYS.get(key, "takeover") for key in self._terminal.pressed()]
        except TerminalError as error:
            raise SafetyDriverError(f"{error}, and nobody could stop the car any more; teaching ends") from error
