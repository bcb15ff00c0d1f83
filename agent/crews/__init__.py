"""Where the actors of a run drive: one file per way, each a context that ends them when it is left.

Sweeps are launched elsewhere (`agent/launchers/`): a trial is a run of its own, which ends by itself.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pkgutil import resolve_name
from typing import Protocol

from agent.actors.orders import Orders
from agent.training.supervisor import Job

CREWS = {
    "local": "agent.crews.local:Local",
    "ray": "agent.crews.ray_actors:RayActors",
}


class Crew(AbstractContextManager["Crew"], Protocol):
    """Actors, each in a process that is started anew when it dies or falls silent."""

    host: str | None  # this machine, as they know it; None = they are on it

    def start(self, orders: Orders, tell: Callable[[str], None]) -> list[Job]:
        """Have as many drive as the config says; `tell` is given a line when one is started anew.

        Returns those that this process is to supervise.
        """
        ...

    def watch(self, heard: frozenset[int]) -> None:
        """Look after the others, once a second: the learner has heard of these actors since the last call.

        Raises LaunchError when one cannot drive at all.
        """
        ...


def load_crew(name: str) -> Callable[[int, str | None], Crew]:
    """What makes the crew of that name, of how many actors and the address of a cluster.

    Raises LaunchError when what it needs is not installed; when entered, where there is no cluster.
    """
    return resolve_name(CREWS[name])
