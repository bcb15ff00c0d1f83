"""What the page shows of a car that is taught."""

import time
from collections.abc import Callable

from deploy.dashboard.link import Link
from deploy.dashboard.messages import Cycle, picture
from deploy.safety_drivers import Phase, Task
from deploy.vehicles import Frame


class Lesson:
    """`show` wants to be told of every control cycle."""

    def __init__(self, link: Link, now: Callable[[], float] = time.monotonic) -> None:
        self._link, self._now = link, now
        self._began_at_s: float | None = None

    def show(self, frame: Frame, sent: tuple[float, float], phase: Phase, task: Task, cycles: int, missed: int) -> None:
        """Show a control cycle, if the last one shown was long enough ago.

        sent: steering and speed set-point that the motors got; cycles, missed: control periods so far.
        """
        self._began_at_s = frame.captured_at_s if self._began_at_s is None else self._began_at_s
        now_s, truth = self._now(), frame.truth
        if not self._link.due(now_s):
            return
        cycle = Cycle(
            at_s=now_s,
            t_s=frame.captured_at_s - self._began_at_s,
            state=phase,
            task=task,
            steering=sent[0],
            speed=sent[1],
            speed_mps=frame.speed_mps,
            pose=truth and (truth.x_m, truth.y_m, truth.yaw_rad),
            distance_m=truth and truth.distance_m,
            cycles=cycles,
            missed=missed,
            image=picture(frame.image),
        )
        self._link.tell(cycle)
