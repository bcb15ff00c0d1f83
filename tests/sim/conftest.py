"""Worlds that are closed in the end."""

import gymnasium
import pytest

from sim.lane_following import LaneFollowing


@pytest.fixture
def make():
    """A LaneFollowing that is closed in the end."""
    made = []

    def make(**options) -> LaneFollowing:
        made.append(LaneFollowing(**options))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.fixture
def made():
    """gymnasium.make of the lane that closes what it has made."""
    opened = []

    def make(**options) -> gymnasium.Env:
        opened.append(gymnasium.make("sim:LaneFollowing-v0", **options))
        return opened[-1]

    yield make
    for env in opened:
        env.close()
