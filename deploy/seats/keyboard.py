"""The keyboard as a driver's seat: stop, start, take over and drive by hand."""

from deploy.driving.controls import Controls, Mode
from deploy.driving.safety import STANDSTILL, Ask
from deploy.seats.terminal import Terminal, TerminalError

ASKS: dict[bytes, Ask] = {b" ": "e_stop", b"x": "stop", b"s": "start", b"r": "reset"}
MODES: dict[bytes, Mode] = {b"u": "user", b"a": "local_angle", b"l": "local"}
ARROWS = {b"\x1b[A": (0.0, 0.1), b"\x1b[B": (0.0, -0.1), b"\x1b[D": (0.1, 0.0), b"\x1b[C": (-0.1, 0.0)}  # left is +
HOLD_S = 0.7  # until a key that is kept down repeats, at most; then every 0.03 s


class Keyboard:
    """Says by `poll` what has been pressed; an arrow key takes over from the policy.

    Arrows turn and speed up by a tenth of what the car can do. Who drives by them keeps pressing: a car that hears none
    for `HOLD_S` stops, for a keyboard cannot tell a hand that rests from one that is gone. The next arrow then begins
    with straight wheels and a standing car, as one does after every other key. Raises TerminalError where standard
    input is no terminal.
    """

    hint = (
        "keys: space EMERGENCY STOP, x stop, s start, r reset; arrows take over; "
        "u drive by hand, a only its speed, l leave all to the policy"
    )

    def __init__(self) -> None:
        self._terminal = Terminal()
        self._gone = False
        self._begin()

    def poll(self, controls: Controls, now_s: float) -> None:
        """Tell `controls` what was pressed since the last time; never waits. A terminal that is gone stops the car."""
        if self._gone:
            return
        try:
            keys = self._terminal.pressed()
        except TerminalError:
            self._gone = True
            controls.ask("stop")
            return
        for key in keys:
            self._press(key, controls, now_s)

    def close(self) -> None:
        """Give the terminal back."""
        self._terminal.close()

    def _press(self, key: bytes, controls: Controls, now_s: float) -> None:
        if key in ASKS:
            self._begin()
            controls.ask(ASKS[key])
        elif key in MODES:
            self._begin()
            controls.choose(MODES[key])
        elif key in ARROWS:
            if controls.mode == "local":
                controls.choose("user")
            if now_s >= self._until_s:
                self._begin()
            left, faster = ARROWS[key]
            self._steering = min(max(self._steering + left, -1.0), 1.0)
            self._speed = min(max(self._speed + faster, STANDSTILL), 1.0)
            self._until_s = now_s + HOLD_S
            controls.hold(self._steering, self._speed, self._until_s)

    def _begin(self) -> None:
        """Hands begin with straight wheels and a standing car."""
        self._steering, self._speed = 0.0, STANDSTILL
        self._until_s = float("-inf")  # then the hands have gone silent
