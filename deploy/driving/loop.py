"""The control loop: a frame drives, from camera to policy to motors, every control period in real time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deploy.clock import RateKeeper
from deploy.driving.controls import Controls, Heard, Seat, mixed
from deploy.driving.eyes import camera_check, late
from deploy.driving.faults import Fault
from deploy.driving.safety import Inputs, Limits, Memory, step
from deploy.log.entries import Entry
from deploy.observation import StateVector
from deploy.policy_spec import PolicySpec
from deploy.realtime import Steal
from deploy.vehicles import Frame, Vehicle
from deploy.wire import Action, PolicyInfo


class Policy(Protocol):
    """Who says what to do: a server (`deploy.client`) or this process itself (`deploy.driving.local_policy`)."""

    fault: Fault  # why there was no action the last time there was none

    def hello(self, timeout_s: float) -> PolicyInfo:
        """Which policy it is. Raises ServerError if nobody answers in time."""
        ...

    def act(
        self, seq: int, image: NDArray[np.uint8], state: NDArray[np.float32], captured_at_s: float, deadline_s: float
    ) -> Action | None:
        """The action for this frame, or None if no valid one came until `deadline_s`; see `PolicyClient.act`."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


@dataclass(frozen=True)
class Tick:
    """What a control period was: all that the log needs, and what was seen."""

    entry: Entry
    frame: Frame


class ControlLoop:
    """One car, one policy, one safety machine between them; `tick` drives one control period."""

    def __init__(
        self,
        car: Vehicle,
        policy: Policy,
        spec: PolicySpec,
        limits: Limits,
        controls: Controls,
        seats: Sequence[Seat],
        deadline_s: float,
        armed: bool,
    ) -> None:
        self.car, self.policy, self.spec, self.limits = car, policy, spec, limits
        self.controls, self.seats = controls, seats
        self.clock = RateKeeper(spec.period_s)
        self.memory = Memory.standing(self.clock.now(), armed=armed)
        self._vector = StateVector(spec.top_speed_mps, spec.max_steering_rad, spec.history)
        self._camera_fault = camera_check(car.spec)
        self._deadline_s = deadline_s
        self._steal = Steal()

    def tick(self, trouble: Callable[[], Fault | None] = lambda: None) -> Tick:
        """Drive one control period. trouble: tells why the car must not be driven although all else may be well."""
        lateness_s = self.clock.wait()
        read_at_s = self.clock.now()
        frame = self.car.read()
        heard = self._hear()
        state = self._vector.assemble(frame.speed_mps, frame.steering_rad)
        fault = trouble() or late(frame, read_at_s, self.limits.watchdog_s) or self._camera_fault(frame)
        asked_at_s = self.clock.now()
        answer = None if fault else self._ask(frame, state)
        inputs = self._inputs(frame, heard, answer, fault)
        self.memory = step(self.memory, inputs, self.limits)
        sent = self.car.send(self.memory.command)
        self._vector.executed(sent)
        entry = Entry(
            tick=self.clock.tick,
            t_s=frame.captured_at_s - self.clock.started_at_s,
            state=state.tolist(),
            steering_rad=frame.steering_rad,
            mode=heard.mode,
            action=answer and answer.action,
            hands=heard.hands and (heard.hands.steering, heard.hands.speed),
            inputs=inputs,
            safety=self.memory.state,
            command=self.memory.command,
            sent=(float(sent[0]), float(sent[1])),
            round_trip_ms=answer and (inputs.now_s - asked_at_s) * 1e3,
            inference_ms=answer and answer.inference_s * 1e3,
            novelty=answer and answer.novelty,
            value=answer and answer.value,
            policy_id=answer and answer.policy_id,
            lateness_ms=lateness_s * 1e3,
            steal_ms=self._steal.since_last_ms(),
            truth=frame.truth,
        )
        return Tick(entry, frame)

    def close(self) -> None:
        """The vehicle stops by itself; this lets go of what the loop itself holds."""
        self._steal.close()

    def _hear(self) -> Heard:
        now_s = self.clock.now()
        for seat in self.seats:
            seat.poll(self.controls, now_s)
        return self.controls.hear(now_s)

    def _ask(self, frame: Frame, state: NDArray[np.float32]) -> Action | None:
        deadline_s = frame.captured_at_s + self._deadline_s
        return self.policy.act(self.clock.tick, frame.image, state, frame.captured_at_s, deadline_s)

    def _inputs(self, frame: Frame, heard: Heard, answer: Action | None, fault: Fault | None) -> Inputs:
        """What the safety machine is told of this cycle."""
        action = mixed(heard.mode, answer and answer.action, heard.hands)
        if action is None and fault is None:
            away = heard.mode != "local" and heard.hands is None
            fault = Fault("hands", "nobody steers any more") if away else self.policy.fault
        until_s = heard.hands.until_s if heard.hands and heard.mode != "local" else None
        return Inputs(self.clock.now(), frame.captured_at_s, frame.speed_mps, action, fault, heard.asks, until_s)
