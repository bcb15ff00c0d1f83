"""A safety driver for the simulated car that goes by a script, so that teaching can be tried and tested by itself."""

from collections import deque

from deploy.safety_drivers import Helper, Order, Phase, Request, SafetyConfig, SafetyDriverError, Task
from deploy.vehicles import Frame, Movable, Truth, Vehicle

STUCK_M = 0.25  # who comes less far in all of the driver's patience is stuck


class ScriptedDriver:
    """Sees the truth, takes over after its reaction time, puts the car back and asks for what the script says next.

    It knows no time but that of the frames. Raises SafetyDriverError for a real car.
    """

    hint = "the safety driver goes by a script"

    def __init__(self, car: Vehicle, config: SafetyConfig) -> None:
        if not isinstance(car, Movable):
            raise SafetyDriverError("the scripted safety driver needs a simulated car; a person watches a real one")
        self._config = config
        self._helper = Helper(car, config.put_back_s)
        self._orders = deque[Order](config.script * config.rounds)
        self._passed = False
        self._danger_since_s: float | None = None
        self._farthest_m = self._farther_at_s = 0.0  # farthest it came, and when that was
        self._under_way = False

    def watch(self, frame: Frame, phase: Phase, task: Task) -> Request | None:
        """See `SafetyDriver`."""
        in_place = self._helper.see(frame, phase, task)
        if phase == "driving":
            return self._oversee(frame, task)
        self._under_way, self._danger_since_s = False, None
        if phase == "standing":
            return self._next()
        return "in place" if in_place else None

    def close(self) -> None:
        """There is nothing to let go of."""

    def _next(self) -> Order:
        satisfied = self._passed and self._config.until_passed
        return self._orders.popleft() if self._orders and not satisfied else "done"

    def _oversee(self, frame: Frame, task: Task) -> Request | None:
        truth = frame.truth
        assert truth is not None  # a simulated car knows it
        if truth.finished:
            self._passed = self._passed or task == "test"
            return "finished"
        if not self._in_danger(truth):
            self._danger_since_s = None
        elif self._danger_since_s is None:
            self._danger_since_s = frame.captured_at_s
        reacted = self._danger_since_s is not None and (
            frame.captured_at_s - self._danger_since_s >= self._config.reaction_s
        )
        return "takeover" if reacted or self._stuck(truth.distance_m, frame.captured_at_s) else None

    def _in_danger(self, truth: Truth) -> bool:
        near = truth.edge_m is not None and truth.edge_m < self._config.margin_m
        return truth.disengagement is not None or near

    def _stuck(self, distance_m: float, now_s: float) -> bool:
        if not self._under_way or distance_m > self._farthest_m + STUCK_M:
            self._farthest_m, self._farther_at_s, self._under_way = distance_m, now_s, True
        return now_s - self._farther_at_s >= self._config.patience_s
