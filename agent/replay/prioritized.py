"""Experience replay in which a transition is the more likely the more surprising it was."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from agent.replay.uniform import Batch, Replay
from agent.settings import DivergedError, NotNegative, Share


@dataclass(frozen=True)
class PriorityConfig:
    """P(k) ∝ (|δ| + ε)^α, importance weights to the power β."""

    alpha: Share = 0.6  # how much priorities matter, 0 = not at all; Schaul 2016, table 3, proportional
    beta: Share = 0.4  # how much of the bias is corrected at first, all of it by the run's end; Schaul 2016, table 3
    epsilon: NotNegative = 1e-6  # of a TD error of zero; OpenAI Baselines


class PrioritizedReplay(Replay):
    """Proportional prioritised replay (Schaul 2016, arXiv 1511.05952); `beta` may be set between samples.

    A batch is stratified: the k-th of its transitions comes from the k-th of equal shares of the sum of priorities
    (appendix B.2.1). New transitions get the greatest priority so far, so that each is soon seen.
    """

    def __init__(
        self,
        capacity: int,
        obs_size: int,
        action_size: int,
        generator: torch.Generator,
        config: PriorityConfig = PriorityConfig(),
    ) -> None:
        super().__init__(capacity, obs_size, action_size, generator)
        self.config, self.beta = config, config.beta
        self._tree = SumTree(capacity)
        self._greatest = 1.0  # of (|δ| + ε)^α

    def add(self, batch: Batch) -> None:
        """Insert transitions at the greatest priority so far; the oldest make room."""
        self._tree.put(self._slots(len(batch.reward)).numpy(), self._greatest)
        super().add(batch)

    def forget(self, before: int) -> None:
        """Draw no transition any more whose number is less: their priority is zero."""
        gone = np.arange(self.oldest, min(before, self.inserted)) % self.capacity
        if len(gone):
            self._tree.put(gone, 0.0)
        super().forget(before)

    def anneal(self, progress: float) -> None:
        """Let β grow from its first value to 1 by the run's end."""
        self.beta = self.config.beta + (1 - self.config.beta) * min(progress, 1.0)

    def _draw(self, size: int) -> tuple[Tensor, Tensor]:
        """Rows and their weights (N·P)^−β / max (N·P)^−β = (min p / p)^β."""
        shares = torch.arange(size) + torch.rand(size, generator=self.generator, dtype=torch.float64)
        rows = self._tree.find(shares.numpy() * (self._tree.total / size))
        priority = self._tree.weights(rows)
        weight = (priority.min() / priority) ** self.beta
        return torch.from_numpy(rows), torch.from_numpy(weight.astype(np.float32))

    def reprioritise(self, rows: Int[Tensor, " batch"], priorities: Float[Tensor, " batch"]) -> None:
        """Set the priorities of sampled rows to their TD errors δ. Raises DivergedError when one is not finite."""
        priority = (np.abs(priorities.numpy().astype(np.float64)) + self.config.epsilon) ** self.config.alpha
        greatest = priority.max()
        if not np.isfinite(greatest):
            raise DivergedError("a priority is not finite: the critic has diverged; expected smaller steps")
        self._tree.put(rows.numpy(), priority)
        self._greatest = max(self._greatest, float(greatest))

    def state(self) -> dict[str, Tensor]:
        """As of a uniform replay, and the priorities."""
        weights = torch.from_numpy(self._tree.weights(np.arange(self._held)))
        powers = torch.tensor([self._greatest, self.beta], dtype=torch.float64)
        return super().state() | {"priorities": weights, "greatest_and_beta": powers}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state`. Raises ValueError as a uniform replay does."""
        super().restore(state)
        self._tree = SumTree(self.capacity)
        self._tree.put(np.arange(self._held), state["priorities"].numpy())
        self._greatest, self.beta = state["greatest_and_beta"].tolist()


class SumTree:
    """Weights ≥ 0 as the leaves of a binary tree whose every other node is the sum of its two children.

    Node 1 is the root, the children of node i are 2i and 2i + 1. Sums are always taken anew from both children, never
    adjusted by a difference, so that rounding errors cannot pile up. The few nodes of the levels near the root are
    taken all together, which is faster than picking those that lie on the way.
    """

    def __init__(self, leaves: int) -> None:
        self._depth = (leaves - 1).bit_length()
        self._top = min(self._depth, 10)  # levels near the root; with 10 a search is fastest
        self._first = 1 << self._depth  # leaf
        self._nodes = np.zeros(2 * self._first)
        self._left, self._right = self._nodes[0::2], self._nodes[1::2]  # child of node i

    @property
    def total(self) -> float:
        """The sum of all weights."""
        return float(self._nodes[1])

    def weights(self, leaves: np.ndarray) -> np.ndarray:
        """The weights of leaves (n,) int64; (n,) float64."""
        return self._nodes[leaves + self._first]

    def put(self, leaves: np.ndarray, weights: np.ndarray | float) -> None:
        """Set the weights of leaves (n,) int64; of a leaf named twice the last one stands."""
        nodes = leaves + self._first
        self._nodes[nodes] = weights
        for _ in range(self._depth - self._top):
            nodes = nodes >> 1
            self._nodes[nodes] = self._left[nodes] + self._right[nodes]
        for level in reversed(range(self._top)):
            whole = slice(1 << level, 2 << level)
            self._nodes[whole] = self._left[whole] + self._right[whole]

    def find(self, heights: np.ndarray) -> np.ndarray:
        """The leaves that heights (n,) in [0, total) reach when all weights are stacked in order; (n,) int64.

        Never a leaf of weight 0, whatever the rounding: the way never leads to a node whose sum is 0.
        """
        widths = self._nodes[1 << self._top : 2 << self._top]
        tops = widths.cumsum()
        heights = np.minimum(heights, np.nextafter(tops[-1], 0))
        nodes = tops.searchsorted(heights, side="right")
        heights = np.maximum(heights - (tops - widths)[nodes], 0)
        nodes = nodes + (1 << self._top)
        for _ in range(self._depth - self._top):
            left = self._left[nodes]
            turn = (heights >= left) & (self._right[nodes] > 0)
            heights = heights - left * turn
            nodes = 2 * nodes + turn
        return nodes - self._first
