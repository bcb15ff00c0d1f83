"""Actors as processes of this machine."""

from collections.abc import Callable
from typing import Self

from agent.actors.orders import Orders, actor_jobs
from agent.training.supervisor import Job


class Local:
    """All of them are left to the supervisor of the learner."""

    host: str | None = None

    def __init__(self, actors: int, address: str | None = None) -> None: ...

    def start(self, orders: Orders, tell: Callable[[str], None]) -> list[Job]:
        """Their jobs."""
        return actor_jobs(orders, range(orders.config.actors))

    def watch(self, heard: frozenset[int]) -> None:
        """Leave that to the supervisor."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...
