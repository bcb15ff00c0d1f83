"""A gamepad as a driver's seat, by Linux's joystick interface (Documentation/input/joydev/joystick-api.rst there).

| on an Xbox pad | says |
|---|---|
| RB, held | the hands are on: stick and trigger drive, by the mode |
| left stick | steering, left is left |
| right trigger | speed: released stands still, pressed is top speed |
| A, B, X, Y | start, E-STOP, stop, reset |
| View, LB, Menu | drive by hand (`user`), only the speed (`local_angle`), leave all to the policy (`local`) |
"""

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

from deploy.driving.controls import Controls, Mode
from deploy.driving.safety import Ask

EVENT = struct.Struct("=IhBB")  # struct js_event: time in ms, value, type, number
BUTTON, AXIS, INITIAL = 0x01, 0x02, 0x80  # types; INITIAL is added to tell a state that was there before
FULL = 32767  # an axis pushed to its end
RELEASED = -0.9 * FULL  # a trigger below this is let go
HOLD_S = 0.15  # that the hands count as on until said again; 1.5 control periods at 10 Hz
EVENTS = 64  # at a time; as many as the kernel keeps


class GamepadError(Exception):
    """There is no such gamepad."""

    exit_code = 2


@dataclass(frozen=True)
class Layout:
    """What each axis and button of a pad means; the numbers of the kernel's xpad driver (Xbox 360, One, Series)."""

    steering_axis: int = 0  # left stick, right is positive
    speed_axis: int = 5  # right trigger, from -FULL to FULL
    hands_button: int = 5  # RB
    asks: dict[int, Ask] = field(default_factory=lambda: {0: "start", 1: "e_stop", 2: "stop", 3: "reset"})
    modes: dict[int, Mode] = field(default_factory=lambda: {6: "user", 4: "local_angle", 7: "local"})


class Gamepad:
    """Says by `poll` what has been pressed and where the stick is; a pad that is gone stops the car.

    Only while the button for the hands is held do stick and trigger drive: a pad that falls down lets go. The trigger
    counts once it has been seen released. `lost` is True once the pad is gone: pulled out, or removed by the kernel.
    Nothing is told of a pad that is held still, so a radio pad that dies may hold its last word until it is removed:
    use a cable, or keep a hand on another stop. Raises GamepadError where there is none.
    """

    hint = (
        "gamepad: B EMERGENCY STOP, X stop, A start, Y reset; RB held drives; View by hand, LB its speed, Menu policy"
    )

    def __init__(self, path: Path = Path("/dev/input/js0"), layout: Layout = Layout()) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise GamepadError(f"gamepad {path} cannot be opened ({error.strerror}); expected one like js0") from error
        self._layout, self._path = layout, path
        self._axes: dict[int, int] = {}
        self._pressed: set[int] = set()
        self._hands = self._ready = False  # on the pad; the trigger has been seen released
        self.lost = False
        for _, value, kind, number in self._events():  # what was pressed before was not meant for us
            self._note(value, kind, number)

    def fileno(self) -> int:
        """For `select`: readable when something was pressed, or when the pad is gone."""
        return self._fd

    def poll(self, controls: Controls, now_s: float) -> None:
        """Tell `controls` what was done since the last time; never waits."""
        if self.lost:
            return
        held = self._hands
        for _, value, kind, number in self._events():
            if self._note(value, kind, number):
                self._press(number, controls)
        if self.lost:
            controls.let_go()
            controls.ask("stop")
        elif self._hands:
            controls.hold(*self._held(), now_s + HOLD_S)
        elif held:
            controls.let_go()

    def close(self) -> None:
        """Let go of the device."""
        os.close(self._fd)

    def _held(self) -> tuple[float, float]:
        """Steering and speed set-point in [-1, 1]."""
        steering = -self._axes.get(self._layout.steering_axis, 0) / FULL
        speed = self._axes.get(self._layout.speed_axis, -FULL) / FULL if self._ready else -1.0
        return min(max(steering, -1.0), 1.0), min(max(speed, -1.0), 1.0)

    def _note(self, value: int, kind: int, number: int) -> bool:
        """Remember an event; whether it is a button that was pressed just now."""
        if kind & AXIS:
            self._axes[number] = value
            self._ready |= number == self._layout.speed_axis and value <= RELEASED
            return False
        if not value:
            self._pressed.discard(number)
            self._hands &= number != self._layout.hands_button
            return False
        fresh = number not in self._pressed
        self._pressed.add(number)
        return fresh

    def _press(self, number: int, controls: Controls) -> None:
        layout = self._layout
        if number == layout.hands_button:
            self._hands = True
        elif number in layout.asks:
            controls.ask(layout.asks[number])
        elif number in layout.modes:
            controls.choose(layout.modes[number])

    def _events(self) -> list[tuple[int, int, int, int]]:
        """All that have come since the last time."""
        events: list[tuple[int, int, int, int]] = []
        while data := self._read():
            events.extend(EVENT.iter_unpack(data))
        return events

    def _read(self) -> bytes:
        """What there is; a pad that fails, or has come to its end, is lost."""
        try:
            data = os.read(self._fd, EVENT.size * EVENTS)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        self.lost = not data
        return data
