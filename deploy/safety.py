"""The guard between policy and motors: it passes on what is valid, holds over one gap, then stops the car.

Pure: no clock, no input or output. The time is handed in, the verdict is handed back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

STANDSTILL = -1.0  # speed set-point

State = Literal["driving", "holding", "stopped"]


@dataclass(frozen=True)
class Limits:
    max_steering_rad: float  # angle of the front wheels at steering ±1
    max_steering_rate_radps: float  # how fast the front wheels may turn
    watchdog_s: float = 0.15  # 1.5 control periods at 10 Hz: rides out one late action, not two


@dataclass(frozen=True)
class Command:
    """What the vehicle shall do until `expires_at_s` (monotonic), when it brakes to rest by itself."""

    steering: float  # [-1, 1], left positive
    speed: float  # [-1, 1], -1 = stand still, +1 = top speed
    expires_at_s: float


class Guard:
    """Turns the newest action of the policy, or its absence, into the command of this control period.

    `state` tells what it does: "driving" on a valid action, "holding" the last command while that may still
    be trusted, "stopped" when no valid action arrived for `watchdog_s`. The next valid action drives on.
    """

    def __init__(self, limits: Limits, now_s: float, steering: float = 0.0):
        self.state: State = "stopped"
        self._limits = limits
        self._command = Command(steering, STANDSTILL, expires_at_s=now_s)
        self._moved_at_s = now_s

    def __call__(self, action: Sequence[float] | None, captured_at_s: float, now_s: float) -> Command:
        """The command from now on.

        action: (2,) steering and speed set-point, None if none came; captured_at_s: when its image was taken.
        """
        if action is not None and self._is_valid(action, captured_at_s, now_s):
            self.state = "driving"
            steering = self._slewed(action[0], now_s)
            self._command = Command(steering, action[1], now_s + self._limits.watchdog_s)
        elif now_s < self._command.expires_at_s:
            self.state = "holding"
        else:
            self.state = "stopped"
            self._command = Command(self._command.steering, STANDSTILL, self._command.expires_at_s)
        self._moved_at_s = now_s
        return self._command

    def _is_valid(self, action: Sequence[float], captured_at_s: float, now_s: float) -> bool:
        in_range = len(action) == 2 and all(isfinite(a) and -1 <= a <= 1 for a in action)
        return in_range and 0 <= now_s - captured_at_s <= self._limits.watchdog_s

    def _slewed(self, steering: float, now_s: float) -> float:
        """As near to `steering` as the wheels can turn in the time since the last command."""
        elapsed_s = min(max(now_s - self._moved_at_s, 0), self._limits.watchdog_s)  # then it was let go
        reach = self._limits.max_steering_rate_radps * elapsed_s / self._limits.max_steering_rad
        held = self._command.steering
        return min(max(steering, held - reach), held + reach)
