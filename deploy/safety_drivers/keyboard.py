"""A safety driver at the keyboard of the terminal."""

import time
from collections.abc import Callable

from deploy.safety_drivers import Phase, Request, SafetyConfig, SafetyDriverError
from deploy.safety_drivers.buttons import ButtonDriver
from deploy.seats.terminal import Terminal, TerminalError
from deploy.vehicles import Vehicle

KEYS: dict[bytes, Request] = {
    b"t": "train",
    b"e": "test",
    b"u": "undo",
    b"d": "done",
    b"p": "pause",
    b"f": "finished",
}


class KeyboardDriver(ButtonDriver):
    """Reads single keys while it is open; while the car drives, any key ends the episode.

    Raises SafetyDriverError where standard input is no terminal.
    """

    hint = (
        "keys: t train, e test, u undo, d done, p pause, f end of the route; while the car drives any other takes over"
    )

    def __init__(self, car: Vehicle, config: SafetyConfig, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(car, config, now)
        try:
            self._terminal = Terminal()
        except TerminalError as error:
            raise SafetyDriverError(f"{error}; expected one for the keyboard, or --safety.driver scripted") from error

    def close(self) -> None:
        """Give the terminal back."""
        self._terminal.close()

    def _listen(self, phase: Phase) -> list[Request]:
        try:
            return [KEYS.get(key, "takeover") for key in self._terminal.pressed()]
        except TerminalError as error:
            raise SafetyDriverError(f"{error}, and nobody could stop the car any more; teaching ends") from error
