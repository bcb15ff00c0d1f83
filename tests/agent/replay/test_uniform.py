"""The replays keep the newest transitions whole and draw them as likely as they should."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent.replay.prioritized import PrioritizedReplay
from agent.replay.uniform import Replay
from tests.agent.replays import lived_through, numbers_in, prioritized, replay, transitions

KINDS = [Replay, PrioritizedReplay]
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize("kind", KINDS)
@given(capacity=st.integers(1, 12), sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_the_oldest_make_room(kind, capacity, sizes):
    ring, first = replay(kind, capacity), 0
    for size in sizes:
        ring.add(transitions(range(first, first + size)))
        first += size
    assert ring.inserted == first
    assert len(ring) == min(first, capacity)
    assert set(numbers_in(ring.sample(2000).batch)) == set(range(first - len(ring), first))


@every_kind
def test_a_sample_is_what_was_inserted_together(kind):
    ring = replay(kind, 10)
    ring.add(transitions(range(7)))
    ring.add(transitions(range(7, 14)))
    batch, rows, _ = ring.sample(500)
    n = (batch.reward - 0.3).round()
    for column, fraction in zip(batch, (0.1, 0.2, 0.3, 0.4, 0.5), strict=True):
        assert torch.allclose(column, (n if column.ndim == 1 else n[:, None]) + fraction)
    assert torch.all(batch.obs != batch.next_obs)
    assert torch.equal(rows, n.long() % 10)


@every_kind
def test_shapes_and_types_of_a_sample(kind):
    ring = replay(kind, 10)
    ring.add(transitions(range(4)))
    batch, rows, weight = ring.sample(6)
    assert [tuple(column.shape) for column in batch] == [(6, 3), (6, 2), (6,), (6,), (6, 3)]
    assert {column.dtype for column in (*batch, weight)} == {torch.float32}
    assert (rows.shape, rows.dtype, weight.shape) == ((6,), torch.int64, (6,))


def test_sampling_is_uniform():
    ring = replay(Replay, capacity=100)
    ring.add(transitions(range(60)))
    ring.add(transitions(range(60, 120)))
    batch, _, weight = ring.sample(20_000)
    counts = torch.bincount(torch.tensor(numbers_in(batch)), minlength=120)[20:]
    chi_square = ((counts - 200.0) ** 2 / 200).sum()
    assert 60 < chi_square < 149  # 99 degrees of freedom: all but 1 in 1000 are in between
    assert torch.all(weight == 1)


@every_kind
def test_the_same_seed_draws_the_same(kind):
    draws = []
    for seed in (4, 4, 5):
        ring = replay(kind, 50, seed)
        ring.add(transitions(range(50)))
        ring.reprioritise(torch.arange(50), torch.linspace(0, 9, 50))
        draws.append(numbers_in(ring.sample(30).batch))
    assert draws[0] == draws[1] != draws[2]


@every_kind
def test_drawing_does_not_touch_the_global_generator(kind):
    ring = replay(kind, 5)
    ring.add(transitions(range(5)))
    before = torch.get_rng_state()
    ring.sample(10)
    assert torch.equal(torch.get_rng_state(), before)


@every_kind
def test_a_sample_is_a_copy(kind):
    ring = replay(kind, 1)
    ring.add(transitions(range(1)))
    batch = ring.sample(1).batch
    ring.add(transitions(range(1, 2)))
    assert batch.reward.tolist() == pytest.approx([0.3])


@every_kind
def test_an_empty_replay_says_so(kind):
    with pytest.raises(ValueError, match="empty"):
        replay(kind, 5).sample(1)


@every_kind
@pytest.mark.parametrize("added", [5, 13, 29])
def test_a_restored_replay_goes_on_bit_by_bit(kind, added):
    ring, restored = replay(kind, 13, seed=1), replay(kind, 13, seed=2)
    ring.add(transitions(range(added)))
    restored.add(transitions(range(40, 49)))
    lived_through(ring, 3)
    state = {name: tensor.clone() for name, tensor in ring.state().items()}
    restored.restore(state)
    for one, same in zip(lived_through(ring, 5), lived_through(restored, 5), strict=True):
        assert torch.equal(one, same)


def test_the_state_holds_how_far_beta_is_annealed():
    ring, restored = prioritized(5), prioritized(5)
    ring.add(transitions(range(5)))
    ring.beta = 0.7
    restored.restore(ring.state())
    assert restored.beta == 0.7


@every_kind
def test_a_state_of_another_shape_is_refused(kind):
    ring = replay(kind, 13)
    ring.add(transitions(range(20)))
    with pytest.raises(ValueError, match=r"rows of the saved replay are \(13, 10\); expected \(12, 10\)"):
        replay(kind, 12).restore(ring.state())


def test_a_state_holds_no_more_than_was_inserted():
    ring = replay(PrioritizedReplay, 1000)
    ring.add(transitions(range(4)))
    assert ring.state()["rows"].shape == (4, 10)
    assert ring.state()["priorities"].shape == (4,)
