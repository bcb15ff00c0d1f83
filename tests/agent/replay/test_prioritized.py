"""Prioritised replay draws what surprised as often as it should, and weighs it by what that distorts."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent.replay.prioritized import SumTree
from tests.agent.replays import prioritized, transitions


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
