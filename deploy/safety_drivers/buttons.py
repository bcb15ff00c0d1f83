"""A person who says by keys or buttons what a car that learns does next."""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import get_args

from deploy.safety_drivers import Phase, Request, SafetyConfig, Task, helper_for
from deploy.vehicles import Frame, Vehicle

CALM_S = 1.0  # without a key, real time; keys that repeat come every 0.03 s, after 0.25 to 0.66 s


class ButtonDriver(ABC):
    """While the car drives, whatever is pressed ends the episode.

    Asking for a task says that the car is where it begins; a simulated one is put there. Once the car has driven, no
    task can be asked for until nothing has been pressed for `CALM_S`: who takes over by pressing `train` twice wants it
    to stop. now: real time in seconds, whatever the car's is.
    """

    def __init__(self, car: Vehicle, config: SafetyConfig, now: Callable[[], float] = time.monotonic) -> None:
        self._helper = helper_for(car, config)
        self._pressed: deque[Request] = deque()
        self._now, self._stirred_at_s, self._drove = now, float("-inf"), False

    def watch(self, frame: Frame, phase: Phase, task: Task) -> Request | None:
        """See `SafetyDriver`; presses are heard one per control period, and forgotten once one has stopped the car.

        Raises SafetyDriverError when what they are pressed on is gone, and with it who could stop the car.
        """
        placed = self._helper is None or self._helper.see(frame, phase, task)
        self._pressed.extend(self._meant(self._listen(phase), phase))
        if self._pressed:
            pressed = self._pressed.popleft()
            if phase == "driving":
                self._pressed.clear()
            return pressed
        if phase == "driving" and frame.truth and frame.truth.finished:
            return "finished"
        return "in place" if phase == "placing" and placed else None

    def _meant(self, said: list[Request], phase: Phase) -> list[Request]:
        """What of it counts: no task as long as the hands have not come to rest since the car drove."""
        now_s, driving = self._now(), phase == "driving"
        stirred = driving or self._drove or (bool(said) and now_s - self._stirred_at_s < CALM_S)
        self._stirred_at_s, self._drove = now_s if stirred else self._stirred_at_s, driving
        return [request for request in said if driving or not stirred or request not in get_args(Task)]

    @abstractmethod
    def _listen(self, phase: Phase) -> list[Request]:
        """What was pressed since the last time; never waits."""
