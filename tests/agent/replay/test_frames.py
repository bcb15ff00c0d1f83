"""A replay of frames keeps each once as bytes, and gives them as they were seen together."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from agent.replay.frames import FrameReplay
from agent.replay.prioritized import PrioritizedReplay
from agent.replay.uniform import Batch, Replay


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
