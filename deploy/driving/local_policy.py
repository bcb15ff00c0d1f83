"""A policy that runs in the process of the control loop itself, where no server is wanted."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from deploy.driving.faults import Fault
from deploy.policy import ONNX_FAILURES, OnnxPolicy
from deploy.policy_server.self_test import action_of, first_policy
from deploy.wire import Action, PolicyInfo, new_session


class LocalPolicy:
    """Answers as a server does, without deadline: should it hang, the vehicle's own watchdog stops the car."""

    def __init__(self, policy: OnnxPolicy) -> None:
        self.fault = Fault("silent", "silent")
        self._policy = policy
        self._session = new_session()

    @classmethod
    def load(cls, path: Path, tell: Callable[[str], None]) -> Self:
        """The policy in that ONNX file, ready to answer at once; what it is unfit for is told. Raises PolicyError."""
        return cls(first_policy(path, tell))

    def hello(self, timeout_s: float) -> PolicyInfo:
        """Which policy it is."""
        return PolicyInfo(self._policy.spec, self._policy.id, self._session)

    def act(
        self, seq: int, image: NDArray[np.uint8], state: NDArray[np.float32], captured_at_s: float, deadline_s: float
    ) -> Action | None:
        """The action for this frame, or None if it has no valid one; see `deploy.client.PolicyClient.act`."""
        started_at_s = time.perf_counter()
        try:
            answer = self._policy.answer(image, state)
        except ONNX_FAILURES as error:
            self.fault = Fault("invalid", f"failing: {str(error).splitlines()[0]}")
            return None
        inference_s = time.perf_counter() - started_at_s
        action = action_of(answer.action)
        if action is None:
            self.fault = Fault("invalid", f"answering {answer.action.tolist()}, outside [-1, 1]")
            return None
        told = (self._policy.id, inference_s, self._session, answer.novelty, answer.value)
        return Action(seq, captured_at_s, action, *told)

    def close(self) -> None:
        """There is nothing to let go of."""
