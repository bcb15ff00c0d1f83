"""A session of teaching: the control loop that drives the car as the safety driver asks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.teaching.pupil import Pupil
from agent.teaching.states import Effect, Event, Teaching, after
from deploy.clock import RateKeeper, Stalls, no_collections
from deploy.driving.safety import STANDSTILL, Command, Inputs, Limits, Memory, step
from deploy.safety_drivers import Phase, SafetyDriver, Task
from deploy.vehicles import Frame, Vehicle
from deploy.wire import EpisodeReport

Show = Callable[[Frame, tuple[float, float], Phase, Task, int, int], None]  # see deploy.dashboard.lesson


@dataclass
class Taught:
    """What a session has come to."""

    trained: int = 0  # episodes, those that were undone among them
    tested: int = 0
    undone: int = 0
    cycles: int = 0  # control periods
    missed: int = 0  # of those that nobody drove in
    policy: Path | None = None  # the best, exported


class Session:
    """One car, one safety driver, one pupil; `run` returns when the safety driver says done."""

    def __init__(
        self,
        car: Vehicle,
        driver: SafetyDriver,
        pupil: Pupil,
        limits: Limits,
        clock: RateKeeper,
        stalls: Stalls,
        tell: Callable[[str], None],
    ) -> None:
        self.car, self.driver, self.pupil, self.limits, self.clock = car, driver, pupil, limits, clock
        self.teaching, self.taught = Teaching(), Taught()
        self._stalls, self.tell = stalls, tell
        self.show: Show = lambda *_: None
        self._memory = Memory.standing(clock.now(), armed=True)

    def run(self, watch: Callable[[], None]) -> None:
        """Drive in real time until all is said and the learner has it; `watch` after every control cycle."""
        self.tell(self.driver.hint)
        with no_collections():
            while self.teaching.phase != "done" or self.pupil.line.sent > self.pupil.line.arrived:
                self.tick()
                self.pupil.exchange(keep_weights=self._testing)
                watch()
        self.taught.cycles, self.taught.missed = self.clock.tick, self.clock.skipped

    @property
    def _testing(self) -> bool:
        return self.teaching.phase == "driving" and self.teaching.task == "test"

    def tick(self) -> None:
        """One control cycle: see, hear the safety driver, then drive, or stand."""
        self.clock.wait()
        frame = self.car.read()
        if unseen_s := self._stalls.unseen_s(frame.captured_at_s):
            self._stalled(unseen_s, frame)
        now = self.teaching
        event = self.driver.watch(frame, now.phase, now.task) or ("caught up" if self.pupil.caught_up else None)
        if event:
            self._hear(event, frame)
        if self.teaching.phase == "driving":
            action = self.pupil.act(frame)
            inputs = Inputs(self.clock.now(), frame.captured_at_s, frame.speed_mps, tuple(action.tolist()))
            self._memory = step(self._memory, inputs, self.limits)
            sent = self.car.send(self._memory.command)
            self.pupil.executed(sent)
        else:
            sent = self.car.send(Command(self._held(frame), STANDSTILL, expires_at_s=self.clock.now()))
        steering, speed = sent.tolist()
        phase, task = self.teaching.phase, self.teaching.task
        self.show(frame, (steering, speed), phase, task, self.clock.tick, self.clock.skipped)

    def _stalled(self, unseen_s: float, frame: Frame) -> None:
        """Nobody drives on after a pause, long or short: whoever watches may long have looked away."""
        if self.teaching.phase in ("placing", "waiting", "driving"):
            self.tell(f"the road was not seen for {unseen_s:.1f} s; the car stands, and waits to be asked again")
        self._hear("stalled", frame)

    def _hear(self, event: Event, frame: Frame) -> None:
        before = self.teaching
        self.teaching, effects = after(before, event)
        for effect in effects:
            self._do(effect, frame)
        if self.teaching.phase == "placing" != before.phase:
            self.tell(f"{self.teaching.task}: putting the car in place")
        if event == "undo" and not before.undoable:
            self.tell("there is nothing to undo")

    def _do(self, effect: Effect, frame: Frame) -> None:
        match effect:
            case "begin":
                self._memory = Memory.standing(self.clock.now(), self._held(frame), armed=True)
                self.pupil.begin(self.teaching.task, frame)
            case "undo":
                self.pupil.undo()
                self.taught.undone += 1
                self.tell("the last training episode and all since it began are undone")
            case "disengaged":
                reason = frame.truth.disengagement if frame.truth else None
                self._conclude(self.pupil.end(frame, reason or "safety driver", finished=False))
            case "finished":
                self._conclude(self.pupil.end(frame, None, finished=True))
            case "broken off":
                self._broken_off(self.pupil.end(frame, None, finished=False))
            case "cut off":
                self._broken_off(self.pupil.cut_off())

    def _broken_off(self, report: EpisodeReport) -> None:
        if report.kind == "train":  # a test counts only when it is over
            self._conclude(report)

    def _conclude(self, report: EpisodeReport) -> None:
        self.pupil.report(report)
        self.taught.trained += report.kind == "train"
        self.taught.tested += report.kind == "test"
        result = "whole route" if report.finished else report.disengagement or "broken off"
        name = {"train": "trained", "test": "  tested"}[report.kind]
        self.tell(f"episode {report.episode:3d}  {name} {report.distance_m:5.1f} m  {result}")

    def _held(self, frame: Frame) -> float:
        """The steering as it is, [-1, 1]."""
        return min(max(frame.steering_rad / self.limits.max_steering_rad, -1.0), 1.0)
