"""A Part for donkeycar 5: a policy of Lapwing as the pilot of a car that donkeycar drives, see docs/vehicles.md.

donkeycar counts steering right positive (-1 left, +1 right), and throttle 0 stands still.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock
from typing import Any, NamedTuple, Self

import numpy as np
import zmq
from numpy.typing import NDArray

from deploy.client import PolicyClient
from deploy.clock import RateKeeper
from deploy.driving.eyes import camera_check
from deploy.driving.faults import Fault
from deploy.driving.local_policy import LocalPolicy
from deploy.driving.loop import Policy
from deploy.driving.safety import Inputs, Limits, Memory, step
from deploy.hardware.estimate import Estimate
from deploy.hardware.framing import fit
from deploy.observation import StateVector
from deploy.vehicles import Frame

HELLO_S = 10.0  # to wait for a policy server
AWAY_S = 0.5  # after so long without `run` nobody knows what the car did meanwhile, and all begins anew
EARLY = 0.1  # part of a period that a cycle may come too early, as donkeycar's loop is not ours

logger = logging.getLogger(__name__)


class Seen(NamedTuple):
    """What donkeycar handed over last."""

    image: Any
    captured_at_s: float  # when this very picture was handed over first
    handed_at_s: float
    speed_mps: float | None
    steering_rad: float | None


class LapwingPilot:
    """Gives donkeycar `(angle, throttle)` for its camera's picture, checked as in Lapwing's own control loop.

    The policy is asked once in each of its control periods, which need not be donkeycar's. Throttle is 0 unless a valid
    answer to a picture at most `watchdog_s` old came within the last `watchdog_s`. After a fault that is not passing (a
    black picture, an action out of range) it stays 0 until a person has driven, which `hear_mode` must be told.

    max_throttle: of donkeycar's, at which the car drives at the policy's top speed on the flat. speed_lag_s: until the
    car has reached 63 % of a new speed, for where no speed is measured. deadline_s: to wait for the policy.
    """

    def __init__(
        self,
        policy: Policy,
        max_throttle: float = 1.0,
        speed_lag_s: float = 0.5,  # estimated for a car of 1/10 to 1/16
        watchdog_s: float = 0.15,  # as in `lapwing drive`
        deadline_s: float = 0.05,  # as in `lapwing drive`
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        spec = policy.hello(HELLO_S).spec
        self._policy, self._spec, self._now = policy, spec, now
        self._max_throttle, self._speed_lag_s, self._deadline_s = max_throttle, speed_lag_s, deadline_s
        self._limits = Limits(spec.max_steering_rad, spec.max_steering_rate_radps, watchdog_s)
        self._vector = StateVector(spec.top_speed_mps, spec.max_steering_rad, spec.history)
        self._camera_fault = camera_check(spec.vehicle)
        self._lock, self._ending, self._ended = Lock(), Event(), Event()
        self._seen: Seen | None = None
        self._seq, self._threaded = 0, False
        self._begin(now(), armed=True)

    @classmethod
    def load(cls, path: str | Path, **settings: Any) -> Self:
        """Drive by an ONNX file, in this process. Raises PolicyError."""
        return cls(LocalPolicy.load(Path(path), logger.warning), **settings)

    @classmethod
    def connect(cls, address: str, **settings: Any) -> Self:
        """Drive by a policy server, see `lapwing serve`. Raises ServerError if none answers."""
        return cls(PolicyClient(zmq.Context.instance(), address), **settings)

    def run(self, image: Any, speed_mps: float | None = None, steering_rad: float | None = None) -> tuple[float, float]:
        """The newest angle and throttle; asks the policy, if it is time to. For `V.add(..., threaded=False)`.

        image: (H, W, 3) uint8 RGB, or None. speed_mps, steering_rad (left positive): as measured, or None.
        """
        now_s = self._hand_over(image, speed_mps, steering_rad)
        if now_s >= self._due_s - EARLY * self._spec.period_s:
            self._due_s = max(self._due_s + self._spec.period_s, now_s)
            self._cycle()
        return self._output()

    def run_threaded(
        self, image: Any, speed_mps: float | None = None, steering_rad: float | None = None
    ) -> tuple[float, float]:
        """The newest angle and throttle of `update`; never waits for the policy. For `V.add(..., threaded=True)`."""
        self._hand_over(image, speed_mps, steering_rad)
        return self._output()

    def hear_mode(self, mode: str) -> None:
        """donkeycar's `user/mode`, in each of its loops: once a person drives, a lasting fault is forgotten.

        A pause between two calls of `run` tells nothing of a person: donkeycar's loop may have stalled.
        """
        if mode == "user":
            with self._lock:
                self._begin(self._now(), armed=True)

    def update(self) -> None:
        """Ask the policy in every control period until `shutdown`; donkeycar gives it a thread."""
        self._threaded = True
        clock = RateKeeper(self._spec.period_s)
        while not self._ending.is_set():
            clock.wait()
            self._cycle()
        self._ended.set()

    def shutdown(self) -> None:
        """Let go of the policy."""
        self._ending.set()
        if self._threaded:
            self._ended.wait(timeout=1.0)
        self._policy.close()

    def _begin(self, now_s: float, armed: bool) -> None:
        """Anew: the car stands, as far as we know; armed: it need not wait for a person."""
        self._memory = Memory.standing(now_s, armed=armed)
        self._estimate = Estimate(self._spec, self._speed_lag_s)
        self._vector.reset()
        self._due_s = now_s

    def _hand_over(self, image: Any, speed_mps: float | None, steering_rad: float | None) -> float:
        """Keep what is seen for the next cycle; the moment."""
        now_s = self._now()
        with self._lock:
            before = self._seen
            if before is None or now_s - before.handed_at_s > AWAY_S:
                self._begin(now_s, armed=self._memory.armed)
            same = before is not None and before.image is image
            captured_at_s = before.captured_at_s if before is not None and same else now_s
            self._seen = Seen(image, captured_at_s, now_s, speed_mps, steering_rad)
        return now_s

    def _cycle(self) -> None:
        """See, ask, check, as `deploy.driving.loop.ControlLoop.tick`."""
        with self._lock:
            seen = self._seen
        if seen is None or seen.image is None or self._now() - seen.handed_at_s > self._limits.watchdog_s:
            return
        frame, fault = self._frame(seen)
        answer = None
        if fault is None:
            self._seq += 1
            state = self._vector.assemble(frame.speed_mps, frame.steering_rad)
            deadline_s = self._now() + self._deadline_s
            answer = self._policy.act(self._seq, frame.image, state, frame.captured_at_s, deadline_s)
            fault = None if answer else self._policy.fault
        now_s = self._now()
        inputs = Inputs(now_s, frame.captured_at_s, frame.speed_mps, answer and answer.action, fault)
        self._step(inputs)

    def _frame(self, seen: Seen) -> tuple[Frame, Fault | None]:
        """What the policy is shown, with an estimate of what is not measured; what is wrong with it."""
        speed_mps, steering_rad = self._estimate.at(seen.captured_at_s)
        speed_mps = speed_mps if seen.speed_mps is None else seen.speed_mps
        steering_rad = steering_rad if seen.steering_rad is None else seen.steering_rad
        try:
            image: NDArray[np.uint8] = fit(seen.image, self._spec.image_height, self._spec.image_width)
        except ValueError as error:
            return Frame(seen.image, speed_mps, steering_rad, seen.captured_at_s, None), Fault("camera", str(error))
        frame = Frame(image, speed_mps, steering_rad, seen.captured_at_s, None)
        return frame, self._camera_fault(frame)

    def _step(self, inputs: Inputs) -> None:
        """What the safety machine makes of it is what donkeycar is told, and remembered as done."""
        before, after = self._memory, step(self._memory, inputs, self._limits)
        command = after.command
        self._vector.executed((command.steering, command.speed))
        self._estimate.told(command.steering, command.speed, inputs.now_s, command.expires_at_s)
        self._memory = after
        if after.state != before.state:
            why = f": {after.fault.kind}, {after.fault.detail}" if after.fault else ""
            logger.info("Lapwing %s%s", after.state, why)

    def _output(self) -> tuple[float, float]:
        """donkeycar's angle and throttle."""
        memory = self._memory
        command = memory.command
        drives = memory.state in ("driving", "degraded") and self._now() < command.expires_at_s
        throttle = (command.speed + 1) / 2 * self._max_throttle if drives else 0.0
        return 0.0 - command.steering, throttle
