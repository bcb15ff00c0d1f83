"""Keeping a control loop in time."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Time:
    """Monotonic time that passes `speed` times as fast as it really does; of a simulated car, all is told in it."""

    def __init__(self, speed: float = 1.0):
        self._speed = speed

    def now(self) -> float:
        """Seconds since some moment, the same for all processes of this machine."""
        return time.monotonic() * self._speed

    def sleep(self, duration_s: float) -> None:
        """Let so much of this time pass."""
        time.sleep(duration_s / self._speed)


class RateKeeper:
    """Wakes its caller at start + tick · period on the monotonic clock.

    Ticks that are missed are skipped, never caught up with: two ticks are at least half a period apart.
    """

    def __init__(
        self,
        period_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.now = clock
        self._period_s = period_s
        self._sleep = sleep
        self.start()

    def start(self) -> None:
        """Count from this moment on; as good as made anew."""
        self.tick = 0  # number of the present tick, skipped ones counted
        self.skipped = 0  # ticks missed so far
        self.started_at_s = self.now()

    def wait(self) -> float:
        """Sleep until the next tick is due; return how late the caller was woken, in seconds."""
        nearest = round((self.now() - self.started_at_s) / self._period_s)
        self.skipped += max(nearest - (self.tick + 1), 0)
        self.tick = max(nearest, self.tick + 1)
        due_s = self.started_at_s + self.tick * self._period_s
        if (remaining_s := due_s - self.now()) > 0:
            self._sleep(remaining_s)
        return max(self.now() - due_s, 0.0)


def boot_time() -> float:
    """Seconds since the machine was started; unlike monotonic time it passes while the machine sleeps (Linux)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Stalls:
    """Notices when a control loop did not see the road for more than `bound_s` of real time.

    Either the loop stood still (the process was stopped, the machine slept) or the camera did; images are told in a
    time that passes `speed` times as fast as real time.
    """

    def __init__(self, bound_s: float, speed: float = 1.0, now: Callable[[], float] = boot_time):
        self.bound_s, self._speed, self._now = bound_s, speed, now
        self._seen_at_s: tuple[float, float] | None = None  # by the camera's clock, by ours

    def unseen_s(self, captured_at_s: float) -> float:
        """How long it was until this image since the last, by either clock; 0 unless that was too long."""
        before, now = self._seen_at_s, (captured_at_s / self._speed, self._now())
        self._seen_at_s = now
        gap_s = max(now[0] - before[0], now[1] - before[1]) if before else 0.0
        return gap_s if gap_s > self.bound_s else 0.0


@contextmanager
def no_collections() -> Iterator[None]:
    """Keep the garbage collector, which may pause for tens of milliseconds, out of a control loop."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
