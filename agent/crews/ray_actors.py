"""Actors as actors of a Ray cluster, or of one that is started on this machine for them alone.

Ray places each where a CPU is free, starts its process anew when that has died, on another node if need be; it is then
told to drive again. Every node needs Lapwing installed, but none of the run's files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from agent.actors.orders import Orders, line_to_learner, run_driver
from agent.cluster import join, ray, ray_errors
from agent.launchers.attempt import LaunchError
from agent.training.supervisor import TRIES, Job

SILENCE = 10  # calls of `watch`, a second each, until an actor that was heard of counts as frozen
UNHEARD = 60  # until it is said that one has not been heard of since it was started


class Seat:
    """What Ray makes a process of."""

    def drive(self, orders: Orders, number: int, life: int) -> None:
        """Be an actor until training is over."""
        with line_to_learner(orders, number) as line:
            run_driver(orders.config, orders.facts, orders.graph, line, life)


@dataclass
class Member:
    """An actor, and what is known of it."""

    number: int
    seat: Any  # handle of a Seat
    driving: Any = None  # reference to what `drive` will return; None = training is over for it
    life: int = 0
    heard: bool = False  # since it was told to drive
    silent: int = 0  # calls of `watch` since then, or since it was heard of
    failures: int = 0  # in a row, before it was heard of


class RayActors:
    """One CPU each."""

    def __init__(self, actors: int, address: str | None = None) -> None:
        self._actors, self._address = actors, address
        self.host: str | None = None
        self._members: list[Member] = []

    def start(self, orders: Orders, tell: Callable[[str], None]) -> list[Job]:
        """Have all of them drive, as soon as there are CPUs."""
        self._orders, self._tell = ray.put(orders), tell
        seat = ray.remote(num_cpus=1, max_restarts=-1)(Seat)
        self._members = [Member(number, seat.remote()) for number in range(orders.config.actors)]
        for member in self._members:
            self._drive(member)
        return []

    def watch(self, heard: frozenset[int]) -> None:
        """Have those drive again that have died; kill those that are frozen, for Ray to start them anew."""
        for member in self._members:
            if member.driving is None:
                continue
            if ray.wait([member.driving], timeout=0)[0]:
                self._ended(member)
            elif member.number in heard:
                member.heard, member.silent, member.failures = True, 0, 0
            else:
                self._silent(member)

    def _drive(self, member: Member) -> None:
        if member.heard:
            member.heard, member.silent = False, 0
        member.driving = member.seat.drive.remote(self._orders, member.number, member.life)

    def _ended(self, member: Member) -> None:
        """Have it drive again, if training is not over for it."""
        try:
            ray.get(member.driving)
        except ray_errors.RayActorError:  # its process has died, or Ray is still about to start it anew
            if member.heard:
                self._anew(member, "died")
            else:
                self._silent(member)
        except ray_errors.RayError as error:
            member.failures += 1
            if member.failures == TRIES:
                raise LaunchError(
                    f"actor {member.number} failed {TRIES} times before it did anything: {error}"
                ) from error
            self._anew(member, "failed")
        else:
            member.driving = None
            return
        self._drive(member)

    def _silent(self, member: Member) -> None:
        member.silent += 1
        if member.heard and member.silent == SILENCE:
            ray.kill(member.seat, no_restart=False)
            self._anew(member, "fell silent")
            self._drive(member)
        elif not member.heard and member.silent == UNHEARD:
            member.silent = 0
            self._tell(
                f"actor {member.number} has not been heard of for a minute; is a CPU free, can it reach this host?"
            )

    def _anew(self, member: Member, how: str) -> None:
        member.life += 1
        self._tell(f"actor {member.number} {how} and is started anew")

    def __enter__(self) -> Self:
        join(self._actors, self._address)
        self.host = ray.util.get_node_ip_address()
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            ray.kill(member.seat)
        ray.shutdown()
