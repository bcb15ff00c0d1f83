"""The learner of a car that is taught, in a process of its own: it learns, judges tests, and goes back when it must.

Everything comes on one stream that is in order and arrives once (`agent/line/delivery.py`): Begin, experience,
reports, Undo. At every Begin the learner remembers all that it is, in memory for Undo and in a checkpoint in case it
is killed. So a learner that is started anew stands at a Begin too, and is sent all that came since, an Undo among it
if there was.
"""

import csv
import io
import signal
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from threading import Event

import msgspec
import numpy as np
import torch
import zmq
from rich.console import Console
from torch import Tensor

from agent.checkpoint import PolicyFacts, Worth, flat_weights, load_flat_weights, make_actor, save_actor
from agent.line.channel import Addresses, LearnerEnd
from agent.line.experience import random_experience
from agent.replay.uniform import Replay
from agent.snapshot import CHECKPOINTS, load_newest, snapshots
from agent.teaching.config import TeachConfig
from agent.training.config import Settings
from agent.training.jobs import Failed
from agent.training.learner import Learner, make_algorithm
from agent.training.supervisor import Link, Orphaned
from deploy.wire import Begin, EpisodeReport, Undo
from perception.encoders import load_encoder
from perception.files import alone_in, write_whole

POLICY = "actor.safetensors"  # of the best test
COLUMNS = [*EpisodeReport.__struct_fields__, "updates"]


@dataclass
class Lesson:
    """An episode, and how many updates there had been when it was over."""

    report: EpisodeReport
    updates: int


@dataclass
class Book:
    """What the lessons have come to: every episode, the weights that drove the best test, the critic's at that time."""

    lessons: list[Lesson] = field(default_factory=list)
    best_m: float = -1.0
    best: bytes = b""  # (N,) float32; none before the first test
    value: bytes = b""  # (N,) float32 of the algorithm's `value`

    def add(self, report: EpisodeReport, weights: np.ndarray | None, updates: int, value: np.ndarray) -> None:
        """Note an episode; a test that none outdid leaves its weights and those of the algorithm's `value`."""
        self.lessons.append(Lesson(report, updates))
        if weights is not None and (report.finished or report.distance_m >= self.best_m):
            self.best_m, self.best = max(self.best_m, report.distance_m), weights.tobytes()
            self.value = value.tobytes()

    def write(self, folder: Path, facts: PolicyFacts, settings: Settings) -> None:
        """Write episodes.csv and the best weights as actor.safetensors, which goes when there are none."""
        table = io.StringIO(newline="")
        writer = csv.writer(table)
        writer.writerow(COLUMNS)
        writer.writerows([*msgspec.structs.astuple(lesson.report), lesson.updates] for lesson in self.lessons)
        write_whole(folder / "episodes.csv", table.getvalue().encode())
        if not self.best:
            (folder / POLICY).unlink(missing_ok=True)
            return
        driver = make_actor(facts)
        load_flat_weights(driver, _floats(self.best))
        worth = Worth(settings, _floats(self.value)) if self.value else None  # there is none in an older checkpoint
        save_actor(folder / POLICY, driver, facts, worth)


def _floats(content: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(content, np.float32).copy())


class Over(Exception):
    """The car is no longer taught."""


class Lessons:
    """A learner and its book."""

    def __init__(self, config: TeachConfig, facts: PolicyFacts, line: LearnerEnd, console: Console) -> None:
        self.config, self.facts, self.console = config, facts, console
        generator = torch.Generator().manual_seed(config.seed)
        replay = Replay(config.replay_capacity, facts.obs_size, facts.action_size, generator)
        self.learner = Learner(make_algorithm(config.algo, config.settings, facts), replay, config.ratio, line)
        self.book = Book()

    def start(self, resume: bool) -> None:
        """Go on from the newest checkpoint if there is one to go on from, else begin with the random episodes."""
        checkpoints = self.config.out / CHECKPOINTS
        if resume and snapshots(checkpoints):
            snapshot = load_newest(checkpoints, partial(self.console.print, style="yellow", markup=False))
            self.learner.restore(snapshot)
            self._open(snapshot.facts["book"])
            self.learner.remember({"book": snapshot.facts["book"]})
            return
        encoder = load_encoder(self.config.encoder)
        self.book.write(self.config.out, self.facts, self.config.settings)  # over those of an earlier run
        for transitions in random_experience(self.config.episodes, encoder, self.facts):
            self.learner.take(*transitions.arrays())
        self.save()

    def judge(self, report: EpisodeReport, weights: np.ndarray | None) -> bool:
        """Note an episode; the car's side says when all is over."""
        self.book.add(report, weights, self.learner.updates, flat_weights(self.learner.algorithm.value).numpy())
        self.book.write(self.config.out, self.facts, self.config.settings)
        return False

    def turn(self, message: Begin | Undo) -> None:
        """Remember, or go back."""
        if isinstance(message, Begin):
            self.learner.remember({"book": msgspec.to_builtins(self.book)})
            self.save()
        elif (remembered := self.learner.undo()) is not None:
            self._open(remembered["book"])

    def save(self) -> None:
        """Write a checkpoint; where that fails teaching goes on, with a warning."""
        try:
            self.learner.save(self.config.out / CHECKPOINTS, {"book": msgspec.to_builtins(self.book)})
        except OSError as error:
            self.console.print(f"[bold red]no checkpoint was written ({error}); teaching goes on[/]")

    def _open(self, book: dict) -> None:
        self.book = msgspec.convert(book, Book)
        self.book.write(self.config.out, self.facts, self.config.settings)


def learn(link: Link, life: int, config: TeachConfig, facts: PolicyFacts, addresses: Addresses) -> None:
    """Be the learner's process until SIGTERM, or until the process that started it is gone; then save.

    Tells Failed where it cannot learn, or cannot go on. It holds the folder of checkpoints as long as it may write into
    the run's: it may outlive the car, whose hold of that ends when it is killed.
    """
    told = Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    torch.set_num_threads(1)
    torch.manual_seed(config.seed)

    def watch() -> None:
        link.beat()
        if told.is_set():
            raise Over

    try:
        with (
            zmq.Context() as context,
            closing(LearnerEnd(context, addresses)) as line,
            alone_in(config.out / CHECKPOINTS),
        ):
            if (car := parent_process()) and not car.is_alive():
                return  # before it held the folder, which may be another's by now
            _teach_on(Lessons(config, facts, line, Console()), life > 0 or config.resume, watch)
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
        with suppress(Orphaned):  # then nobody is left to hear it
            link.tell(Failed(str(error)))


def _teach_on(lessons: Lessons, resume: bool, watch: Callable[[], None]) -> None:
    lessons.start(resume)
    try:
        lessons.learner.run(lessons.judge, watch, lessons.turn)
    except (Over, Orphaned):
        lessons.save()
