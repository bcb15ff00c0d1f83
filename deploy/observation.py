"""What the policy sees beside the camera image. Training and the car use this very same object."""

from collections import deque

import numpy as np
from numpy.typing import ArrayLike, NDArray

STANDING = np.array([0, -1], np.float32)  # steering straight, speed set-point stand still


class StateVector:
    """Assembles speed, steering and the last executed actions into the vector that enters the policy.

    The vector is [speed / top speed, steering / maximum, newest executed action (2), the one before (2), …].
    """

    def __init__(self, top_speed_mps: float, max_steering_rad: float, history: int = 2):
        self.size = 2 + 2 * history
        self._top_speed_mps = top_speed_mps
        self._max_steering_rad = max_steering_rad
        self._executed: deque[NDArray[np.float32]] = deque(maxlen=history)
        self.reset()

    def reset(self) -> None:
        """Forget the past: the vehicle has stood still."""
        self._executed.extend([STANDING] * (self.size // 2 - 1))

    def executed(self, action: ArrayLike) -> None:
        """Remember what the motors really received: (2,) steering and speed set-point in [-1, 1]."""
        self._executed.appendleft(np.array(action, np.float32))

    def assemble(self, speed_mps: float, steering_rad: float) -> NDArray[np.float32]:
        """The state vector of this moment, (size,) float32."""
        measured = [speed_mps / self._top_speed_mps, steering_rad / self._max_steering_rad]
        return np.concatenate([np.array(measured, np.float32), *self._executed])
