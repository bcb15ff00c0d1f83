"""Multi-step transitions from single steps: several rewards at once, then the bootstrap."""

from collections import deque

import numpy as np
import torch
from jaxtyping import Float

from agent.replay.uniform import Batch


class NStep:
    """Turns the steps of one actor into n-step transitions (Barth-Maron 2018, section 3).

    From the moment t of n steps: reward Σ_{k<n} γ^k r_{t+k}, discount γⁿ, and the observation n steps on. At an
    episode's end, terminated or truncated, the moments that have fewer steps left get what there is; the discount is 0
    if the episode terminated, so that only a time-out bootstraps.
    """

    def __init__(self, steps: int, gamma: float) -> None:
        self.steps, self.gamma = steps, gamma
        self._window: deque[tuple[np.ndarray, np.ndarray, float]] = deque()  # obs, action, reward; oldest first

    def add(
        self,
        obs: Float[np.ndarray, " obs"],
        action: Float[np.ndarray, " action"],
        reward: float,
        terminated: bool,
        truncated: bool,
        next_obs: Float[np.ndarray, " obs"],
    ) -> Batch:
        """Take one step; return the transitions that it completes, (k, …) with k from 0 to n."""
        self._window.append((obs.copy(), action.copy(), reward))  # an environment may reuse its arrays
        starts, rewards, discounts = [], [], []
        while self._window and (terminated or truncated or len(self._window) == self.steps):
            starts.append(self._window[0])
            rewards.append(sum(self.gamma**k * r for k, (_, _, r) in enumerate(self._window)))
            discounts.append(0.0 if terminated else self.gamma ** len(self._window))
            self._window.popleft()
        count = len(starts)
        return Batch(
            _tensor([start[0] for start in starts]).reshape(count, len(obs)),
            _tensor([start[1] for start in starts]).reshape(count, len(action)),
            _tensor(rewards),
            _tensor(discounts),
            _tensor([next_obs] * count).reshape(count, len(obs)),
        )


def _tensor(values: list) -> torch.Tensor:
    return torch.from_numpy(np.array(values, np.float32))
