"""Where the trials of a sweep run: one file per way, and the attempt at a trial that all of them make.

A launcher is a context; leaving it ends whatever still runs. `start` hands over an order and returns at once, `ended`
names the trials that have ended since it was last asked, `interrupt` lets those that run save and end, `kill` ends them
now. `at_once` is how many are to be handed over at a time. How a trial ended stands in its folder, wherever it ran
(`attempt.py: Ended`).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pkgutil import resolve_name
from typing import Protocol

from agent.launchers.attempt import Order

LAUNCHERS = {
    "local": "agent.launchers.local:Local",
    "ray": "agent.launchers.ray_tasks:RayTasks",
}


class Launcher(AbstractContextManager["Launcher"], Protocol):
    """Runs trials, each in a process of its own."""

    at_once: int

    def start(self, order: Order) -> None:
        """Have the trial run."""
        ...

    def ended(self) -> list[str]:
        """Names of the trials that have ended since the last call."""
        ...

    def interrupt(self) -> None:
        """Let every trial save what it has and end; those that wait never start."""
        ...

    def kill(self) -> None:
        """End every trial now, and forget it."""
        ...


def load_launcher(name: str) -> Callable[[int, str | None], Launcher]:
    """What makes the launcher of that name, of how many jobs at once and the address of a cluster.

    Raises LaunchError when what it needs is not installed; when made, where there is no cluster.
    """
    return resolve_name(LAUNCHERS[name])
