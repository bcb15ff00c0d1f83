"""The replays keep the newest transitions whole and draw them as likely as they should."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from agent.frame_replay import FrameReplay
from agent.prioritized_replay import PrioritizedReplay, PriorityConfig, SumTree
from agent.replay import Batch, Replay

KINDS = [Replay, PrioritizedReplay]
every_kind = pytest.mark.parametrize("kind", KINDS)


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


def lived_through(ring: Replay, draws: int) -> list[Tensor]:
    """What a learner would see that samples, sets priorities and adds."""
    seen = []
    for i in range(draws):
        batch, rows, weight = ring.sample(8)
        ring.reprioritise(rows, batch.reward % 3 + i)
        ring.add(transitions(range(100 + i, 103 + i)))
        seen += [*batch, rows, weight]
    return seen


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


def test_rows_are_drawn_in_proportion_to_their_priorities():
    ring = prioritized(8, alpha=0.5, epsilon=1.0)
    ring.add(transitions(range(6)))
    ring.reprioritise(torch.arange(6), torch.tensor([0.0, 3, 8, 15, 24, 99]))  # p^α = 1, 2, 3, 4, 5, 10
    draws = torch.cat([ring.sample(1).rows for _ in range(5000)])  # one by one they are independent
    expected = torch.tensor([1, 2, 3, 4, 5, 10]) * 200.0  # of 5000
    chi_square = ((torch.bincount(draws, minlength=6) - expected) ** 2 / expected).sum()
    assert 0.2 < chi_square < 20.5  # 5 degrees of freedom: all but 1 in 1000 are in between


def test_a_stratified_batch_holds_each_row_as_often_as_its_share_to_within_one():
    ring = prioritized(8, alpha=1.0, epsilon=0.0)
    ring.add(transitions(range(4)))
    ring.reprioritise(torch.arange(4), torch.tensor([1.0, 2, 3, 4]))
    for _ in range(20):
        counts = torch.bincount(ring.sample(100).rows, minlength=4)
        assert (counts - torch.tensor([10, 20, 30, 40])).abs().max() <= 1


@pytest.mark.parametrize(
    ("beta", "weights"),
    [
        (1.0, [1, 1 / 2, 1 / 4]),  # N·P = 3·(1, 2, 4)/7; its inverses, over the greatest
        (0.5, [1, 0.70711, 0.5]),
        (0.0, [1, 1, 1]),
    ],
)
def test_importance_weights_worked_out_by_hand(beta, weights):
    ring = prioritized(4, alpha=0.5, epsilon=0.0)
    ring.add(transitions(range(3)))
    ring.reprioritise(torch.arange(3), torch.tensor([1.0, 4, 16]))  # p^α = 1, 2, 4
    ring.beta = beta
    _, rows, weight = ring.sample(50)
    assert set(rows.tolist()) == {0, 1, 2}
    assert weight.tolist() == pytest.approx([weights[row] for row in rows], abs=1e-5)


def test_fully_corrected_a_weighted_mean_is_that_of_uniform_sampling():
    ring = prioritized(16, alpha=1.0, beta=1.0, epsilon=0.0)
    ring.add(transitions(range(16)))
    ring.reprioritise(torch.arange(16), torch.arange(16) + 1.0)
    batch, _, weight = ring.sample(20_000)
    assert float((weight * batch.reward).sum() / weight.sum()) == pytest.approx(7.8, rel=0.01)  # mean 0…15, and 0.3


def test_new_transitions_are_as_likely_as_the_most_surprising_so_far():
    ring = prioritized(8, alpha=1.0, epsilon=0.0)
    ring.add(transitions(range(2)))
    ring.reprioritise(torch.tensor([0, 1]), torch.tensor([9.0, 1.0]))
    ring.reprioritise(torch.tensor([0, 1]), torch.tensor([3.0, 1.0]))
    ring.add(transitions(range(2, 3)))
    counts = torch.bincount(ring.sample(1300).rows, minlength=3)
    assert counts.tolist() == pytest.approx([300, 100, 900], abs=1)


def test_a_sign_does_not_matter_and_without_surprise_epsilon_is_left():
    ring = prioritized(2, alpha=1.0, epsilon=0.5)
    ring.add(transitions(range(2)))
    ring.reprioritise(torch.tensor([0, 1]), torch.tensor([-1.0, 0.0]))
    assert torch.bincount(ring.sample(400).rows).tolist() == pytest.approx([300, 100], abs=1)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_diverged_critic_is_told_and_the_priorities_stay(bad):
    ring = prioritized(4)
    ring.add(transitions(range(4)))
    with pytest.raises(ValueError, match="diverged"):
        ring.reprioritise(torch.arange(2), torch.tensor([1.0, bad]))
    assert set(ring.sample(100).rows.tolist()) == {0, 1, 2, 3}


WEIGHTS = st.sampled_from([0.0, 1e-300, 1e-6, 0.3, 1.0, 7.0, 1e12, 1e300])


@given(leaves=st.integers(1, 40) | st.integers(1000, 70_000), data=st.data())
def test_the_tree_agrees_with_brute_force_after_any_operations(leaves, data):
    tree, plain = SumTree(leaves), np.zeros(leaves)
    for _ in range(data.draw(st.integers(1, 6))):
        puts = data.draw(st.lists(st.tuples(st.integers(0, leaves - 1), WEIGHTS), min_size=1, max_size=20))
        where, weights = (np.array(column) for column in zip(*puts, strict=True))
        tree.put(where, weights)
        for leaf, weight in puts:
            plain[leaf] = weight
    assert np.array_equal(tree.weights(np.arange(leaves)), plain)
    assert tree.total == pytest.approx(plain.sum(), rel=1e-12)
    if plain.sum() > 0:
        heights = np.linspace(0, 1, 50) * tree.total  # the last one lies at the very top, beyond what is promised
        found = tree.find(heights)
        assert np.all(plain[found] > 0)
        tops = plain.cumsum()
        assert np.all(heights <= tops[found] * (1 + 1e-12))
        assert np.all(heights >= (tops - plain)[found] * (1 - 1e-12))


def test_rounded_sums_never_lead_into_the_part_that_is_still_empty():
    tree, rng, live = SumTree(2**14), np.random.default_rng(0), np.arange(13)
    for _ in range(300):
        tree.put(live, rng.random(13) * np.where(live < 12, 0.1, 1))
        assert tree.find(np.array([np.nextafter(tree.total, 0)])) == 12


def test_a_priority_that_fell_from_huge_leaves_no_trace():
    tree = SumTree(3)
    tree.put(np.array([0, 1, 2]), np.array([0.1, 1e300, 0.2]))
    tree.put(np.array([1]), 0.0)
    assert tree.total == pytest.approx(0.3, rel=1e-15)
    assert tree.find(np.array([0.05, 0.15])).tolist() == [0, 2]


def shade(frames: Tensor) -> Tensor:
    """An encoder of 1 x 2 frames: the first pixel, and twice the second."""
    return frames.flatten(1).float() * torch.tensor([1.0, 2.0])


def frame_replay(capacity: int, seed: int = 0, kind: type = Replay, recent: int = 2) -> FrameReplay:
    inner = kind(capacity, 2, 1, torch.Generator().manual_seed(seed))
    return FrameReplay(inner, (1, 2), shade, recent)


def steps(first: int, count: int, n: int = 1) -> Batch:
    """The n-step transitions of an episode of moments first … first + count, whose numbers tell their moment."""
    at = torch.arange(first, first + count)
    end = (at + n).clamp(max=first + count)

    def obs(moment: Tensor) -> Tensor:
        return torch.stack([moment % 256, moment // 256, moment], dim=1).float()

    return Batch(obs(at), at[:, None] + 0.2, at + 0.3, (end - at) + 0.0, obs(end))


def one_by_one(ring: FrameReplay, batch: Batch) -> None:
    for i in range(len(batch.reward)):
        ring.add(Batch(*(column[i : i + 1] for column in batch)))


@given(
    capacity=st.integers(8, 30),
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=15),
    n=st.integers(1, 3),
    kind=st.sampled_from([Replay, PrioritizedReplay]),
)
def test_frames_are_sampled_as_they_were_seen_together(capacity, counts, n, kind):
    ring, first = frame_replay(capacity, kind=kind, recent=2 * n), 0
    for count in counts:
        one_by_one(ring, steps(first, count, n))
        first += count + 1
    batch = ring.sample(400).batch
    moment, end = batch.obs[:, 2], batch.next_obs[:, 2]
    for state, frame in ((moment, batch.obs), (end, batch.next_obs)):
        assert torch.equal(frame[:, 0], state % 256)  # as `shade` sees it
        assert torch.equal(frame[:, 1], 2 * (state // 256))
    assert torch.allclose(batch.reward, moment + 0.3)
    assert torch.equal(end - moment, batch.discount)
    assert moment.max() == first - 2  # the latest can be drawn
    drawn = moment.unique()
    assert len(drawn) <= len(ring) <= capacity
    assert len(ring) >= min(sum(counts), capacity - len(counts) - 4 * n)  # a frame an episode is no transition's own


def test_frames_are_drawn_uniformly_over_their_transitions():
    ring = frame_replay(60)
    for first, count in [(0, 19), (20, 1), (22, 9), (32, 30)]:
        one_by_one(ring, steps(first, count))
    moments = ring.sample(len(ring) * 200).batch.obs[:, 2].int()
    counts = torch.bincount(moments)
    counts = counts[counts > 0]
    assert len(counts) == len(ring) == 56  # 63 frames in all: the first three are gone, and three transitions with them
    assert 25 < ((counts - 200.0) ** 2 / 200).sum() < 94  # 55 degrees of freedom: all but 1 in 1000


def test_a_frame_that_is_gone_takes_only_those_with_it_that_need_it():
    ring = frame_replay(8)
    one_by_one(ring, steps(0, 7))
    assert len(ring) == 7
    one_by_one(ring, steps(100, 1))  # two new frames drive out moments 0 and 1, and the steps 0 -> 1 and 1 -> 2
    assert sorted(set(ring.sample(300).batch.obs[:, 2].tolist())) == [2, 3, 4, 5, 6, 100]


def test_latents_are_those_of_the_encoder_as_it_is_now():
    ring = frame_replay(10)
    one_by_one(ring, steps(0, 4))
    ring.encode = lambda frames: shade(frames) + 1000
    batch = ring.sample(20).batch
    assert batch.obs[:, :2].min() >= 1000
    assert batch.next_obs[:, :2].min() >= 1000


@pytest.mark.parametrize("n", [1, 3])
def test_a_frame_takes_its_bytes_once(n):
    ring = frame_replay(100, recent=2 * n)
    one_by_one(ring, steps(0, 60, n))
    assert ring.stored == 61
    assert ring.state()["frames"].shape == (61, 1, 2)
    assert ring.state()["frames"].dtype == torch.uint8


def test_an_encoder_is_not_trained_by_sampling():
    weight = torch.ones(2, requires_grad=True)
    ring = frame_replay(10)
    ring.encode = lambda frames: shade(frames) * weight
    one_by_one(ring, steps(0, 4))
    assert not ring.sample(3).batch.obs.requires_grad


def test_surprising_frames_are_drawn_more_often():
    ring = frame_replay(20, kind=PrioritizedReplay)
    one_by_one(ring, steps(0, 10))
    sample = ring.sample(64)
    ring.reprioritise(sample.rows, torch.where(sample.batch.obs[:, 2] == 4, 100.0, 0.0))
    assert (ring.sample(200).batch.obs[:, 2] == 4).float().mean() > 0.8
    ring.anneal(1.0)
    assert ring.inner.beta == 1.0


@pytest.mark.parametrize("added", [3, 14])
@pytest.mark.parametrize("kind", [Replay, PrioritizedReplay])
def test_restored_frames_go_on_bit_by_bit(added, kind):
    ring, restored = frame_replay(20, seed=1, kind=kind), frame_replay(20, seed=2, kind=kind)
    one_by_one(restored, steps(700, 17))
    for first in range(added):
        one_by_one(ring, steps(5 * first, 2))
    ring.sample(3)
    restored.restore({name: tensor.clone() for name, tensor in ring.state().items()})
    assert len(restored) == len(ring)
    for grown in (ring, restored):
        one_by_one(grown, steps(300, 12))
    for one, same in zip(ring.sample(50).batch, restored.sample(50).batch, strict=True):
        assert torch.equal(one, same)


def test_what_does_not_fit_the_frames_is_refused():
    ring = frame_replay(5)
    with pytest.raises(ValueError, match="empty"):
        ring.sample(1)
    one_by_one(ring, steps(0, 4))
    other = FrameReplay(Replay(5, 2, 1, torch.Generator()), (2, 2))
    with pytest.raises(ValueError, match="frames of the saved replay are"):
        other.restore(ring.state())


def test_the_latest_frames_are_the_newest_in_the_order_in_which_they_came():
    ring = FrameReplay(Replay(3, 1, 1, torch.Generator()), (1, 2))
    assert len(ring.latest(2)) == 0
    for i in range(3):  # frames 0 to 3; there is room for three
        frames = torch.tensor([[i, i], [i + 1, i + 1]], dtype=torch.float32)
        ring.add(Batch(frames[:1], torch.zeros(1, 1), torch.zeros(1), torch.zeros(1), frames[1:]))
    assert ring.latest(2)[:, 0, 0].tolist() == [2, 3]
    assert ring.latest(9)[:, 0, 0].tolist() == [1, 2, 3]
