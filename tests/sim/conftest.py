"""Worlds that are closed in the end."""

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
