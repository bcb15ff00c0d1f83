"""Experience replay in preallocated memory, every transition as likely as another."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


class Batch(NamedTuple):
    """Transitions, all float32: the discount is γⁿ, or 0 after a terminal step (a time-out bootstraps)."""

    obs: Float[Tensor, "batch obs"]
    action: Float[Tensor, "batch action"]
    reward: Float[Tensor, " batch"]
    discount: Float[Tensor, " batch"]
    next_obs: Float[Tensor, "batch obs"]


class Sample(NamedTuple):
    """Transitions drawn, where they lie, and how much each counts (1 where all are equally likely)."""

    batch: Batch
    rows: Int[Tensor, " batch"]
    weight: Float[Tensor, " batch"]


class Replay:
    """A ring of the last `capacity` transitions, every one as likely as another.

    A transition is one row of one matrix, so that a sample is one gather; the columns of a batch are views of it.
    """

    def __init__(self, capacity: int, obs_size: int, action_size: int, generator: torch.Generator) -> None:
        self.capacity, self.obs_size, self.action_size, self.generator = capacity, obs_size, action_size, generator
        self.inserted = self.forgotten = 0  # transitions so far, and how many of them at least are gone
        self._widths = [obs_size, action_size, 1, 1, obs_size]
        rows = np.zeros((capacity, sum(self._widths)), np.float32)  # numpy asks for huge pages: a gather a fifth faster
        self._rows = torch.from_numpy(rows)

    def __len__(self) -> int:
        return self.inserted - self.oldest

    @property
    def oldest(self) -> int:
        """The number of the oldest transition that can still be drawn, counted from the first ever inserted."""
        return max(self.forgotten, self.inserted - self.capacity)

    def forget(self, before: int) -> None:
        """Draw no transition any more whose number is less."""
        self.forgotten = max(self.forgotten, before)

    def add(self, batch: Batch) -> None:
        """Insert transitions; the oldest make room."""
        obs, action, reward, discount, next_obs = batch
        rows = torch.cat([obs, action, reward[:, None], discount[:, None], next_obs], dim=1)
        self._rows[self._slots(len(rows))] = rows[-self.capacity :]
        self.inserted += len(rows)

    def _slots(self, count: int) -> Tensor:
        """Where the next `count` transitions go, or the last of them that there is room for."""
        last = self.inserted + count
        return torch.arange(max(self.inserted, last - self.capacity), last) % self.capacity

    def sample(self, size: int) -> Sample:
        """Draw `size` transitions with replacement. Raises ValueError when there are none."""
        if len(self) == 0:
            raise ValueError("the replay is empty; add transitions before the first sample")
        rows, weight = self._draw(size)
        obs, action, reward, discount, next_obs = self._rows.index_select(0, rows).split(self._widths, dim=1)
        return Sample(Batch(obs, action, reward[:, 0], discount[:, 0], next_obs), rows, weight)

    def _draw(self, size: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(self), (size,), generator=self.generator)
        if self.oldest:
            rows = rows.add_(self.oldest).remainder_(self.capacity)
        return rows, torch.ones(size)

    def anneal(self, progress: float) -> None:
        """Take note of how much of the run is over, 0 … 1; nothing to a uniform replay."""

    def reprioritise(self, rows: Int[Tensor, " batch"], priorities: Float[Tensor, " batch"]) -> None:
        """Take note of how surprising the sampled transitions were; nothing to a uniform replay."""

    def state(self) -> dict[str, Tensor]:
        """Everything that `restore` needs to go on bit by bit; shares memory, so save it before the next `add`."""
        return {
            "rows": self._rows[: self._held],
            "inserted": torch.tensor(self.inserted),
            "forgotten": torch.tensor(self.forgotten),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state`. Raises ValueError when its transitions are of another shape or number."""
        inserted = int(state["inserted"])
        expected = (min(inserted, self.capacity), sum(self._widths))
        if state["rows"].shape != expected:
            raise ValueError(f"rows of the saved replay are {tuple(state['rows'].shape)}; expected {expected}")
        self._rows[: len(state["rows"])] = state["rows"]
        self.generator.set_state(state["generator"])
        self.inserted, self.forgotten = inserted, int(state["forgotten"])

    @property
    def _held(self) -> int:
        return min(self.inserted, self.capacity)
