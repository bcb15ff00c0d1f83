"""n-step transitions are the discounted sums that their definition says, across every end of an episode."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent.replay.n_step import NStep
from agent.replay.uniform import Batch


def step(n_step: NStep, moment: int, reward: float, terminated: bool = False, truncated: bool = False) -> Batch:
    """Go from a moment to the next; what is seen and done there is its number."""
    obs, next_obs = np.array([[moment, 0.5], [moment + 1, 0.5]], np.float32)
    return n_step.add(obs, np.array([-moment], np.float32), reward, terminated, truncated, next_obs)


def rows(batch: Batch) -> list[tuple[float, ...]]:
    """(moment, reward, discount, moment bootstrapped from) of each transition."""
    columns = (batch.obs[:, 0], batch.reward, batch.discount, batch.next_obs[:, 0])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_three_steps_worked_out_by_hand():
    n_step = NStep(3, gamma=0.5)
    assert rows(step(n_step, 0, 1.0)) == []
    assert rows(step(n_step, 1, 2.0)) == []
    assert rows(step(n_step, 2, 4.0)) == [(0, 3.0, 0.125, 3)]  # 1 + 2/2 + 4/4
    assert rows(step(n_step, 3, 8.0)) == [(1, 6.0, 0.125, 4)]  # 2 + 4/2 + 8/4


@pytest.mark.parametrize(
    ("end", "discounts"),
    [("terminated", (0.0, 0.0, 0.0)), ("truncated", (0.125, 0.25, 0.5))],
)
def test_the_end_flushes_the_remainders_and_only_a_timeout_bootstraps(end, discounts):
    n_step = NStep(3, gamma=0.5)
    for moment, reward in enumerate([1.0, 2.0, 4.0]):
        step(n_step, moment, reward)
    flushed = rows(step(n_step, 3, 8.0, **{end: True}))
    assert flushed == [(1, 6.0, discounts[0], 4), (2, 8.0, discounts[1], 4), (3, 8.0, discounts[2], 4)]
    assert rows(step(n_step, 10, 1.0)) == []  # nothing of the old episode is in the new one
    assert rows(step(n_step, 11, 1.0)) == []
    assert rows(step(n_step, 12, 1.0)) == [(10, 1.75, 0.125, 13)]


def test_an_episode_shorter_than_n_is_flushed_whole():
    n_step = NStep(5, gamma=0.5)
    step(n_step, 0, 1.0)
    assert rows(step(n_step, 1, 2.0, truncated=True)) == [(0, 2.0, 0.25, 2), (1, 2.0, 0.5, 2)]
    assert rows(step(n_step, 7, 3.0, terminated=True)) == [(7, 3.0, 0.0, 8)]


def test_terminated_at_the_time_limit_is_terminated():
    assert rows(step(NStep(2, gamma=0.5), 0, 1.0, terminated=True, truncated=True)) == [(0, 1.0, 0.0, 1)]


def test_one_step_is_the_transition_itself():
    n_step = NStep(1, gamma=0.95)
    reward = 0.1 + 0.2
    for terminated, truncated in [(False, False), (False, True), (True, False)]:
        batch = step(n_step, 4, reward, terminated, truncated)
        discount = 0.0 if terminated else 0.95
        expected = ([[4, 0.5]], [[-4]], [reward], [discount], [[5, 0.5]])
        for column, values in zip(batch, expected, strict=True):
            assert torch.equal(column, torch.tensor(values, dtype=torch.float32))


def test_shapes_and_types():
    n_step = NStep(2, gamma=0.9)
    for batch, count in [(step(n_step, 0, 1), 0), (step(n_step, 1, 1), 1), (step(n_step, 2, 1, truncated=True), 2)]:
        assert [tuple(column.shape) for column in batch] == [(count, 2), (count, 1), (count,), (count,), (count, 2)]
        assert {column.dtype for column in batch} == {torch.float32}


def test_arrays_that_the_environment_reuses_do_no_harm():
    n_step, obs, action = NStep(2, gamma=0.9), np.zeros(2, np.float32), np.zeros(1, np.float32)
    n_step.add(obs, action, 0.0, False, False, obs)
    obs += 1
    action += 1
    batch = n_step.add(obs, action, 0.0, False, False, obs)
    obs += 1
    assert batch.obs.tolist() == [[0, 0]]
    assert batch.action.tolist() == [[0]]
    assert batch.next_obs.tolist() == [[1, 1]]


ENDS = st.sampled_from([None] * 6 + ["terminated", "truncated"])


@given(n=st.integers(1, 6), gamma=st.floats(0, 1), steps=st.lists(st.tuples(st.floats(-9, 9), ENDS), max_size=40))
def test_any_sequence_agrees_with_the_definition(n, gamma, steps):
    n_step, found = NStep(n, gamma), []
    for moment, (reward, end) in enumerate(steps):
        found += rows(step(n_step, moment, reward, end == "terminated", end == "truncated"))
    expected = []
    for start in range(len(steps)):
        ends = [i for i in range(start, len(steps)) if steps[i][1]]
        last = min([start + n - 1, *ends])
        if last < len(steps):
            total = sum(gamma ** (i - start) * steps[i][0] for i in range(start, last + 1))
            terminated = steps[last][1] == "terminated"
            expected.append((start, total, 0.0 if terminated else gamma ** (last + 1 - start), last + 1))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-6)
