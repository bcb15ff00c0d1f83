"""The processes of a run: started, watched, and started anew when they die or fall silent."""

import ctypes
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Pipe, wait
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawValue
from types import TracebackType
from typing import Any, Self

STARTUP_S = 600.0  # until a process's first heartbeat: a loaded machine and a large dataset need some
TRIES = 3  # deaths before the first heartbeat until the run gives up
LOOK_S = 0.5  # between two looks of one process whether the other is alive
FAREWELL_S = 1.0  # for processes to end by themselves


class Orphaned(Exception):
    """The process that started this one has ended."""


class ProcessError(RuntimeError):
    """A process of the run cannot be started."""

    exit_code = 2


@dataclass
class Link:
    """A process's line to the one that started it."""

    beat_at_s: Any  # a double in shared memory: when it was heard of last, on the monotonic clock
    pipe: Any  # multiprocessing.connection.Connection
    looked_at_s: float = 0.0  # whether the other still lives

    def beat(self) -> None:
        """Say that this process is alive; to be called often. Raises Orphaned when nobody is left to hear it."""
        self.beat_at_s.value = now_s = time.monotonic()
        if now_s - self.looked_at_s > LOOK_S:
            self.looked_at_s = now_s
            parent = parent_process()
            if parent is not None and not parent.is_alive():
                raise Orphaned

    def tell(self, event: object) -> None:
        """Send what `Supervisor.events` then yields. Raises Orphaned as `beat` does."""
        try:
            self.pipe.send(event)
        except BrokenPipeError as error:
            raise Orphaned from error


@dataclass
class Job:
    """What a process is to do: `target(link, life, *arguments)`, a function of a module; life counts its restarts."""

    name: str
    target: Callable[..., None]
    arguments: tuple[Any, ...]
    silence_s: float = 10.0  # without a heartbeat until the process counts as frozen
    life: int = 0
    early_deaths: int = 0  # in a row, before the first heartbeat
    started_at_s: float = field(default_factory=time.monotonic)


@dataclass
class Worker:
    """A process that does a job, and this end of its line."""

    job: Job
    process: BaseProcess
    link: Link

    @property
    def done(self) -> bool:
        """True once it has ended as it should."""
        return self.process.exitcode == 0

    @property
    def heard(self) -> bool:
        """True once it has shown that it lives."""
        return self.link.beat_at_s.value > 0

    @property
    def frozen(self) -> bool:
        """True when it has been silent for too long."""
        if not self.heard:
            return time.monotonic() - self.job.started_at_s > STARTUP_S
        return time.monotonic() - self.link.beat_at_s.value > self.job.silence_s


class Supervisor:
    """One process per job, all of which end with the `with` block; `tell` is given a line when one is started anew."""

    def __init__(self, jobs: Sequence[Job], tell: Callable[[str], None]) -> None:
        self._jobs, self._tell = jobs, tell
        self.workers: list[Worker] = []

    def __enter__(self) -> Self:
        with ExitStack() as on_error:
            on_error.push(self)
            for job in self._jobs:
                with _ctrl_c_waits():
                    self.workers.append(_start(job))
            on_error.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        until_s = time.monotonic() + (FAREWELL_S if kind is None else 0)  # they have been told that it is over
        for worker in self.workers:
            worker.process.join(timeout=max(0.0, until_s - time.monotonic()))
            _end(worker)

    def events(self) -> Iterator[Any]:
        """Yield what the processes tell, and look after them meanwhile; ends when all have done their job.

        Raises ProcessError when one dies again and again before it can say anything.
        """
        at_work = True
        while at_work:
            at_work = not all(worker.done for worker in self.workers)  # and what they told last is heard below
            pipes = [worker.link.pipe for worker in self.workers if not worker.link.pipe.closed]
            ends = [worker.process.sentinel for worker in self.workers if not worker.done]
            wait([*pipes, *ends], timeout=LOOK_S if at_work else 0)
            for pipe in pipes:
                yield from _heard(pipe)
            self.watch()

    def watch(self) -> None:
        """Start anew who died or is silent. Raises ProcessError as `events` does."""
        for i, worker in enumerate(self.workers):
            job, alive = worker.job, worker.process.is_alive()
            if worker.done or (alive and not worker.frozen):
                continue
            job.early_deaths = 0 if worker.heard else job.early_deaths + 1
            if job.early_deaths == TRIES:
                raise ProcessError(f"{job.name} ended {TRIES} times before it did anything; its own messages say why")
            self._tell(f"{job.name} {'fell silent' if alive else 'died'} and is started anew")
            _end(worker)
            job.life += 1
            with _ctrl_c_waits():
                self.workers[i] = _start(job)


def _heard(pipe: Any) -> Iterator[Any]:
    """What stands in a pipe; it is closed once the other end is."""
    try:
        while pipe.poll():
            yield pipe.recv()
    except (EOFError, OSError):  # it has ended, maybe in the midst of a word
        pipe.close()


def _start(job: Job) -> Worker:
    context = get_context("spawn")
    ours, theirs = Pipe(duplex=False)
    beat_at_s = RawValue(ctypes.c_double, 0.0)
    arguments = (Link(beat_at_s, theirs), job.life, *job.arguments)
    process = context.Process(target=job.target, args=arguments, name=job.name, daemon=True)
    process.start()
    theirs.close()
    job.started_at_s = time.monotonic()
    return Worker(job, process, Link(beat_at_s, ours))


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Keep Ctrl-C for later; processes started meanwhile never hear it: it is for this one, which ends them."""
    resource_tracker.ensure_running()  # which would let it through
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))  # by way of another thread
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    for number in came[:1]:
        signal.raise_signal(number)


def _end(worker: Worker) -> None:
    worker.process.kill()  # also one that is stopped
    worker.process.join()
    worker.link.pipe.close()
