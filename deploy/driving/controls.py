"""What people ask of a driving car, by keyboard, gamepad or dashboard, and how policy and person are mixed."""

from threading import Lock
from typing import Literal, Protocol

from msgspec import Struct

from deploy.driving.safety import Ask

# As in donkeycar: a person drives, steers not but sets the speed, or only watches.
Mode = Literal["user", "local_angle", "local"]
Action = tuple[float, float]  # steering and speed set-point in [-1, 1]


class Hands(Struct, frozen=True):
    """What the person at the wheel wants of the car."""

    steering: float  # [-1, 1], left positive
    speed: float  # [-1, 1], -1 = stand still
    until_s: float  # monotonic; then they have gone silent, unless they say it again


class Heard(Struct, frozen=True):
    """All that people want in this control cycle."""

    mode: Mode = "local"
    asks: tuple[Ask, ...] = ()
    hands: Hands | None = None


class Seat(Protocol):
    """Where a person says what they want: a keyboard, a gamepad."""

    hint: str  # how they say it, for the terminal

    def poll(self, controls: "Controls", now_s: float) -> None:
        """Tell what they have said since the last time; called once a control period, never waits.

        Whoever could stop the car and is gone has it stopped.
        """
        ...

    def close(self) -> None:
        """Let go of the device."""
        ...


class Controls:
    """Where people say what they want, from any thread, and the control loop hears it once a cycle."""

    def __init__(self, mode: Mode = "local") -> None:
        self._lock = Lock()
        self._mode: Mode = mode
        self._asks: list[Ask] = []
        self._hands: Hands | None = None

    @property
    def mode(self) -> Mode:
        """Who drives, as was chosen last."""
        return self._mode

    def ask(self, ask: Ask) -> None:
        """Ask the safety machine for something; it is heard in the next cycle."""
        with self._lock:
            self._asks.append(ask)

    def choose(self, mode: Mode) -> None:
        """Have policy, person or both drive from the next cycle on."""
        with self._lock:
            self._mode = mode

    def hold(self, steering: float, speed: float, until_s: float) -> None:
        """Have the hands on wheel and throttle; must be said again before `until_s` (monotonic)."""
        with self._lock:
            self._hands = Hands(steering, speed, until_s)

    def let_go(self) -> None:
        """Take the hands off: a car that they drove stops."""
        with self._lock:
            self._hands = None

    def hear(self, now_s: float) -> Heard:
        """What is wanted now; what was asked for is told once."""
        with self._lock:
            asks, self._asks = tuple(self._asks), []
            hands = self._hands if self._hands and now_s < self._hands.until_s else None
            return Heard(self._mode, asks, hands)


def mixed(mode: Mode, policy: Action | None, hands: Hands | None) -> Action | None:
    """Steering and speed set-point of whoever has them in this mode; None if one who must speak is silent."""
    if mode == "local":
        return policy
    if hands is None:
        return None
    if mode == "user":
        return hands.steering, hands.speed
    return policy and (policy[0], hands.speed)
