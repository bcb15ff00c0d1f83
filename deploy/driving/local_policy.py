"""A policy that runs in the process of the control loop itself, where no server is wanted."""

import time
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from deploy.driving.faults import Fault
from deploy.policy import OnnxPolicy
from deploy.policy_server.self_test import warm_up
from deploy.wire import Action, PolicyInfo, new_session


class LocalPolicy:
    """Answers as a server does, without deadline: should it hang, the vehicle's own watchdog stops the car."""

    def __init__(self, policy: OnnxPolicy) -> None:
        self.fault = Fault("silent", "silent")
        self._policy = policy
        self._session = new_session()

    @classmethod
    def load(cls, path: Path) -> Self:
        """The policy in that ONNX file, ready to answer at once. Raises PolicyError."""
        policy = OnnxPolicy.load(path)
        warm_up(policy)
        return cls(policy)

    def hello(self, timeout_s: float) -> PolicyInfo:
        """Which policy it is."""
        return PolicyInfo(self._policy.spec, self._policy.id, self._session)

    def act(
        self, seq: int, image: NDArray[np.uint8], state: NDArray[np.float32], captured_at_s: float, deadline_s: float
    ) -> Action:
        """The action for this frame, see `deploy.client.PolicyClient.act`."""
        started_at_s = time.perf_counter()
        action, novelty, value = self._policy.answer(image, state)
        inference_s = time.perf_counter() - started_at_s
        steering, speed = action.tolist()
        return Action(
            seq, captured_at_s, (steering, speed), self._policy.id, inference_s, self._session, novelty, value
        )

    def close(self) -> None:
        """There is nothing to let go of."""
