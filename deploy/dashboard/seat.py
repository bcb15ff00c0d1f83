"""The dashboard as a driver's seat: shows every control cycle to its process, and hears what people press there."""

import time
from collections.abc import Callable

from deploy.dashboard.link import Link
from deploy.dashboard.messages import Asked, Choose, Cycle, Held, LetGo, Press, Scene, picture
from deploy.driving.controls import Controls
from deploy.driving.loop import Tick


class Counted:
    """What is counted of all cycles, shown or not; figures wait until there is room for them."""

    def __init__(self) -> None:
        self.cycles = self.missed = 0
        self.round_trips_ms: list[float] = []
        self.inferences_ms: list[float] = []

    def add(self, round_trip_ms: float | None, inference_ms: float | None) -> None:
        """Count a cycle; None for one without an answer in time."""
        self.cycles += 1
        if round_trip_ms is None or inference_ms is None:
            self.missed += 1
        elif len(self.round_trips_ms) < 1000:  # of a process that does not listen
            self.round_trips_ms.append(round_trip_ms)
            self.inferences_ms.append(inference_ms)

    def forget(self) -> None:
        """The figures have arrived."""
        self.round_trips_ms, self.inferences_ms = [], []


class DashboardSeat:
    """See `deploy.driving.controls.Seat`; `show` wants to be told of every tick.

    A page that is lost lets go of wheel and throttle at once, one that freezes within `HOLD_S` (`ear.py`). When the
    dashboard's process itself is gone the car is stopped: nobody at a page could do so any more.
    """

    def __init__(self, link: Link, now: Callable[[], float] = time.monotonic) -> None:
        self.hint = f"dashboard at {link.url}"
        self._link, self._now = link, now
        self._counted = Counted()
        self._gone = False

    def begin(self, scene: Scene) -> None:
        """Say what there is to see."""
        self._link.tell(scene)

    def show(self, tick: Tick) -> None:
        """Count a tick, and show it if the last one shown was long enough ago."""
        entry = tick.entry
        self._counted.add(entry.round_trip_ms, entry.inference_ms)
        now_s = self._now()
        if self._link.due(now_s) and self._link.tell(cycle(tick, self._counted, now_s)):
            self._counted.forget()

    def poll(self, controls: Controls, now_s: float) -> None:
        """Tell `controls` what was asked for since the last time; never waits."""
        if self._gone:
            return
        for message in self._link.heard():
            _pass_on(message, controls)
        if self._link.gone:
            self._gone = True
            controls.let_go()
            controls.ask("stop")

    def close(self) -> None:
        """The line is closed by whoever opened it."""


def _pass_on(message: Asked, controls: Controls) -> None:
    match message:
        case Held(steering=steering, speed=speed, until_s=until_s):
            controls.hold(steering, speed, until_s)
        case LetGo():
            controls.let_go()
        case Choose(mode=mode):
            controls.choose(mode)
        case Press(ask=ask):
            controls.ask(ask)


def cycle(tick: Tick, counted: Counted, now_s: float) -> Cycle:
    """What is shown of a tick."""
    entry = tick.entry
    truth, fault = entry.truth, entry.fault
    return Cycle(
        at_s=now_s,
        t_s=entry.t_s,
        state=entry.safety,
        mode=entry.mode,
        fault=fault and f"{fault.kind}: {fault.detail}",
        steering=entry.sent[0],
        speed=entry.sent[1],
        speed_mps=entry.speed_mps,
        novelty=entry.novelty,
        value=entry.value,
        pose=truth and (truth.x_m, truth.y_m, truth.yaw_rad),
        distance_m=truth and truth.distance_m,
        cycles=counted.cycles,
        missed=counted.missed,
        round_trips_ms=counted.round_trips_ms,
        inferences_ms=counted.inferences_ms,
        image=picture(tick.frame.image),
    )
