"""Worlds that are closed in the end."""

from collections.abc import Callable, Iterator
from functools import partial

import gymnasium
import pytest

from sim.lane_following import LaneFollowing


def closed_after(kind: Callable[..., gymnasium.Env]) -> Iterator[Callable[..., gymnasium.Env]]:
    """That kind of environment, of which all that were made are closed in the end."""
    made = []

    def make(**options) -> gymnasium.Env:
        made.append(kind(**options))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.fixture
def make():
    """A LaneFollowing that is closed in the end."""
    yield from closed_after(LaneFollowing)


@pytest.fixture
def made():
    """The same by gymnasium.make."""
    yield from closed_after(partial(gymnasium.make, "sim:LaneFollowing-v0"))
