"""Uniform experience replay in preallocated memory."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Batch(NamedTuple):
    """Transitions, all float32: the discount is γ, or 0 after a terminal step (a time-out bootstraps)."""

    obs: Float[Tensor, "batch obs"]
    action: Float[Tensor, "batch action"]
    reward: Float[Tensor, " batch"]
    discount: Float[Tensor, " batch"]
    next_obs: Float[Tensor, "batch obs"]


class Replay:
    """A ring of the last `capacity` transitions."""

    def __init__(self, capacity: int, obs_size: int, action_size: int, generator: torch.Generator) -> None:
        self.capacity, self.generator = capacity, generator
        self.inserted = 0
        self._store = Batch(
            torch.zeros(capacity, obs_size),
            torch.zeros(capacity, action_size),
            torch.zeros(capacity),
            torch.zeros(capacity),
            torch.zeros(capacity, obs_size),
        )

    def __len__(self) -> int:
        return min(self.inserted, self.capacity)

    def add(self, batch: Batch) -> None:
        """Insert transitions; the oldest make room."""
        slots = (self.inserted + torch.arange(len(batch.reward))) % self.capacity
        for store, new in zip(self._store, batch, strict=True):
            store[slots] = new
        self.inserted += len(batch.reward)

    def sample(self, size: int) -> Batch:
        """Draw `size` transitions uniformly, with replacement."""
        rows = torch.randint(len(self), (size,), generator=self.generator)
        return Batch(*(store.index_select(0, rows) for store in self._store))
