"""The replay keeps the newest transitions whole and draws them uniformly."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent.replay import Batch, Replay


def replay(capacity: int, seed: int = 0) -> Replay:
    return Replay(capacity, obs_size=3, action_size=2, generator=torch.Generator().manual_seed(seed))


def transitions(numbers: range) -> Batch:
    """Transition n has n in every column, told apart by a fraction."""
    n = torch.tensor(numbers, dtype=torch.float32)
    return Batch(
        n[:, None].expand(-1, 3) + 0.1, n[:, None].expand(-1, 2) + 0.2, n + 0.3, n + 0.4, n[:, None].expand(-1, 3) + 0.5
    )


def numbers_in(batch: Batch) -> list[int]:
    return (batch.reward - 0.3).round().int().tolist()


@given(capacity=st.integers(1, 12), sizes=st.lists(st.integers(1, 12), min_size=1, max_size=8))
def test_the_oldest_make_room(capacity, sizes):
    ring, first = replay(capacity), 0
    for size in [min(size, capacity) for size in sizes]:
        ring.add(transitions(range(first, first + size)))
        first += size
    assert ring.inserted == first
    assert len(ring) == min(first, capacity)
    assert set(numbers_in(ring.sample(2000))) == set(range(first - len(ring), first))


def test_a_sample_is_what_was_inserted_together():
    ring = replay(10)
    ring.add(transitions(range(7)))
    ring.add(transitions(range(7, 14)))
    batch = ring.sample(500)
    n = (batch.reward - 0.3).round()
    for column, fraction in zip(batch, (0.1, 0.2, 0.3, 0.4, 0.5), strict=True):
        assert torch.allclose(column, (n if column.ndim == 1 else n[:, None]) + fraction)
    assert torch.all(batch.obs != batch.next_obs)


def test_shapes_and_types_of_a_sample():
    ring = replay(10)
    ring.add(transitions(range(4)))
    batch = ring.sample(6)
    assert [tuple(column.shape) for column in batch] == [(6, 3), (6, 2), (6,), (6,), (6, 3)]
    assert {column.dtype for column in batch} == {torch.float32}


def test_sampling_is_uniform():
    ring = replay(capacity=100)
    ring.add(transitions(range(60)))
    ring.add(transitions(range(60, 120)))
    counts = torch.bincount(torch.tensor(numbers_in(ring.sample(20_000))), minlength=120)[20:]
    chi_square = ((counts - 200.0) ** 2 / 200).sum()
    assert 60 < chi_square < 149  # 99 degrees of freedom: all but 1 in 1000 are in between


def test_the_same_seed_draws_the_same():
    draws = []
    for seed in (4, 4, 5):
        ring = replay(50, seed)
        ring.add(transitions(range(50)))
        draws.append(numbers_in(ring.sample(30)))
    assert draws[0] == draws[1] != draws[2]


def test_drawing_does_not_touch_the_global_generator():
    ring = replay(5)
    ring.add(transitions(range(5)))
    before = torch.get_rng_state()
    ring.sample(10)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_sample_is_a_copy():
    ring = replay(1)
    ring.add(transitions(range(1)))
    batch = ring.sample(1)
    ring.add(transitions(range(1, 2)))
    assert batch.reward.tolist() == pytest.approx([0.3])
