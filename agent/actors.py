"""The actor processes of a run: started, watched, and started anew when they die or fall silent."""

import signal
import time
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

SILENCE_S = 10.0  # without a heartbeat until an actor counts as frozen
STARTUP_S = 120.0  # until its first heartbeat; a loaded machine needs some
TRIES = 3  # deaths before the first heartbeat until the run gives up


class ActorsError(RuntimeError):
    """An actor cannot be started."""

    exit_code = 2


class Actors:
    """`count` processes that each run `drive(actor, restarts, *arguments)`; all end with the `with` block.

    drive: a function of a module, as the processes are spawned. tell: is given a line when an actor is started anew.
    """

    def __init__(
        self, drive: Callable[..., None], arguments: tuple[Any, ...], tell: Callable[[str], None], count: int = 1
    ) -> None:
        self._drive, self._arguments, self._tell = drive, arguments, tell
        self.restarts = [0] * count
        self._early_deaths = [0] * count  # in a row, before the first heartbeat
        self._started_at_s = [0.0] * count
        self.processes: list[BaseProcess] = []

    def __enter__(self) -> Self:
        self.processes = [self._start(actor) for actor in range(len(self.restarts))]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self.processes:
            process.join(timeout=5 if kind is None else 0)  # they have been told that training is over
            process.kill()
            process.join()

    def watch(self, heard_at_s: Mapping[int, float]) -> None:
        """Start anew who died or is silent; heard_at_s: the last heartbeat of each actor on the monotonic clock.

        Raises ActorsError when one dies again and again before it can say anything.
        """
        for actor, process in enumerate(self.processes):
            heard = heard_at_s.get(actor, 0.0) > self._started_at_s[actor]
            since_s = heard_at_s[actor] if heard else self._started_at_s[actor]
            frozen = time.monotonic() - since_s > (SILENCE_S if heard else STARTUP_S)
            if process.is_alive() and not frozen:
                continue
            self._early_deaths[actor] = 0 if heard else self._early_deaths[actor] + 1
            if self._early_deaths[actor] == TRIES:
                raise ActorsError(f"actor {actor} ended {TRIES} times before it drove; its own messages say why")
            self._tell(f"actor {actor} {'fell silent' if process.is_alive() else 'died'} and is started anew")
            process.kill()  # also one that is stopped
            process.join()
            self.restarts[actor] += 1
            self.processes[actor] = self._start(actor)

    def _start(self, actor: int) -> BaseProcess:
        arguments = (actor, self.restarts[actor], *self._arguments)
        process = get_context("spawn").Process(target=self._drive, args=arguments, name=f"actor {actor}", daemon=True)
        ctrl_c = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is for the learner, which ends them
        process.start()
        signal.signal(signal.SIGINT, ctrl_c)
        self._started_at_s[actor] = time.monotonic()
        return process
