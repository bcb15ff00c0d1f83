"""Trials as processes of this machine."""

from typing import Self

from agent.launchers.attempt import Attempt, Order


class Local:
    """Runs what it is given at once; `jobs` at a time are its measure."""

    def __init__(self, jobs: int, address: str | None = None) -> None:
        self.at_once = jobs
        self._running: dict[str, Attempt] = {}

    def start(self, order: Order) -> None:
        """Start the trial's process."""
        self._running[order.name] = Attempt(order)

    def ended(self) -> list[str]:
        """Names of the trials whose process has ended since the last call."""
        names = [name for name, attempt in self._running.items() if attempt.over()]
        for name in names:
            del self._running[name]
        return names

    def interrupt(self) -> None:
        """Let every trial save what it has and end."""
        for attempt in self._running.values():
            attempt.interrupt()

    def kill(self) -> None:
        """End every trial now, and forget it."""
        for attempt in self._running.values():
            attempt.kill()
        self._running.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
