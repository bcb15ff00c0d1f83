"""How many updates driving is worth, in closed form."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.training.ratio import Ratio

PAPER = Ratio(per_episode=250, per_step=0)


def test_the_papers_learner_makes_250_updates_an_episode_however_long_it_was():
    assert [PAPER.due(transitions, episodes) for transitions, episodes in ((30, 0), (900, 1), (901, 4))] == [
        0,
        250,
        1000,
    ]


def test_steps_and_episodes_add_up():
    assert dataclasses.replace(PAPER, per_step=0.5).due(7, 3) == 753  # 3·250 + 3.5, no half update


@given(st.floats(0, 1e3), st.floats(0, 10), st.integers(0, 10**6), st.integers(0, 10**4))
def test_more_experience_is_never_worth_less(per_episode, per_step, transitions, episodes):
    ratio = Ratio(per_episode, per_step)
    due = ratio.due(transitions, episodes)
    assert due == pytest.approx(per_episode * episodes + per_step * transitions, abs=1)
    assert ratio.due(transitions + 1, episodes) >= due
    assert ratio.due(transitions, episodes + 1) >= due
