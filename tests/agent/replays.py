"""Small replays, and transitions that are told apart by their numbers."""

import torch
from torch import Tensor

from agent.replay.prioritized import PrioritizedReplay, PriorityConfig
from agent.replay.uniform import Batch, Replay


def replay(kind: type[Replay], capacity: int, seed: int = 0) -> Replay:
    return kind(capacity, obs_size=3, action_size=2, generator=torch.Generator().manual_seed(seed))


def prioritized(capacity: int, **config: float) -> PrioritizedReplay:
    return PrioritizedReplay(capacity, 3, 2, torch.Generator().manual_seed(0), PriorityConfig(**config))


def transitions(numbers: range) -> Batch:
    """Transition n has n in every column, told apart by a fraction."""
    n = torch.tensor(numbers, dtype=torch.float32)
    return Batch(
        n[:, None].expand(-1, 3) + 0.1, n[:, None].expand(-1, 2) + 0.2, n + 0.3, n + 0.4, n[:, None].expand(-1, 3) + 0.5
    )


def numbers_in(batch: Batch) -> list[int]:
    return (batch.reward - 0.3).round().int().tolist()


def lived_through(ring: Replay, draws: int) -> list[Tensor]:
    """What a learner would see that samples, sets priorities and adds."""
    seen = []
    for i in range(draws):
        batch, rows, weight = ring.sample(8)
        ring.reprioritise(rows, batch.reward % 3 + i)
        ring.add(transitions(range(100 + i, 103 + i)))
        seen += [*batch, rows, weight]
    return seen
