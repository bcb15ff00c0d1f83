"""What the learner's process does, and what one process does that drives and learns by turns."""

import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from threading import Event

import torch
import zmq
from rich.markup import escape

from agent.actors.orders import run_driver
from agent.checkpoint import PolicyFacts
from agent.line.channel import Addresses, LearnerEnd
from agent.line.experience import random_experience
from agent.line.loopback import Loopback
from agent.snapshot import CHECKPOINTS, load_newest, snapshots
from agent.training.config import TrainConfig
from agent.training.course import Course, Face, Progress, begin
from agent.training.learner import Algorithm, Learner, make_algorithm, make_replay
from agent.training.supervisor import Link, Orphaned
from deploy.keys import ServerKeys
from perception.memory import keep_freed
from perception.sight import load_sight

ROLL_CALL_S = 1.0  # between two events that say who has been heard of
FAREWELLS, FAREWELL_EVERY_S = 25, 0.02


@dataclass(frozen=True)
class Said:
    """An event: a line to print."""

    text: str


@dataclass(frozen=True)
class Doing:
    """An event: what goes on now."""

    text: str


@dataclass(frozen=True)
class Failed:
    """An event: the run cannot be, for that reason."""

    reason: str


@dataclass(frozen=True)
class Heard:
    """An event: these actors have been heard of since the last such event."""

    actors: frozenset[int]


class Interrupted(Exception):
    """The run is broken off."""


class RollCall:
    """Tells once in a while which actors are heard of; to be called often."""

    def __init__(self, link: Link, line: LearnerEnd, interrupted: Event) -> None:
        self._link, self._line, self._interrupted = link, line, interrupted
        self._at_s = time.monotonic()

    def __call__(self) -> None:
        """Raises Orphaned as `Link.beat` does, Interrupted when the learner is to save and end."""
        self._link.beat()
        if self._interrupted.is_set():
            raise Interrupted
        now_s = time.monotonic()
        if now_s - self._at_s > ROLL_CALL_S:
            heard = frozenset(actor for actor, at_s in self._line.heard_at_s.items() if at_s > self._at_s)
            self._link.tell(Heard(heard))
            self._at_s = now_s


def learn(
    link: Link, life: int, config: TrainConfig, facts: PolicyFacts, addresses: Addresses, keys: ServerKeys | None
) -> None:
    """Be the learner's process until training is over; tells Said, Doing, Heard and at the end Progress, or Failed.

    A life after the first goes on from the newest checkpoint, if there is one yet. At SIGTERM it saves and ends.
    """
    interrupted = Event()
    signal.signal(signal.SIGTERM, lambda *_: interrupted.set())
    face = Face(lambda text: link.tell(Said(text)), lambda text: link.tell(Doing(text)))
    resume = config.resume or (life > 0 and bool(snapshots(config.out / CHECKPOINTS)))
    try:
        with (
            zmq.Context() as context,
            closing(LearnerEnd(context, addresses, keys)) as line,
            course(config, facts, line, face, resume) as plan,
        ):
            if not plan.progress.over:
                try:
                    plan.learner.run(plan.judge, RollCall(link, line, interrupted))
                except Interrupted:
                    return plan.save()
            link.tell(plan.progress)  # first: a learner that is lost from here on has nothing left to do
            farewell(plan.learner)
    except Orphaned:  # nobody is left to learn for
        return None
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
        link.tell(Failed(str(error)))


def farewell(learner: Learner) -> None:
    """Say more than once that training is over: a publisher drops what comes while its last message is on its way."""
    for _ in range(FAREWELLS):
        learner.stop()
        time.sleep(FAREWELL_EVERY_S)


def in_turns(config: TrainConfig, facts: PolicyFacts, graph: bytes, face: Face) -> Progress:
    """Drive and learn by turns in this process, which depends on the config alone; returns what it has come to."""
    line = Loopback()
    with course(config, facts, line, face, config.resume) as plan:
        line.turn = lambda: plan.learner.take_turn(plan.judge)
        run_driver(config, facts, graph, line)
        return plan.progress


@contextmanager
def course(
    config: TrainConfig, facts: PolicyFacts, line: LearnerEnd | Loopback, face: Face, resume: bool
) -> Iterator[Course]:
    """A learner and its judge, from the newest checkpoint or with random experience.

    Raises SnapshotError or DatasetError where that cannot be read.
    """
    torch.set_num_threads(1)
    keep_freed()
    torch.manual_seed(config.seed)

    def new_algorithm() -> Algorithm:
        return make_algorithm(config.algo, config.settings, facts, config.online)

    generator = torch.Generator().manual_seed(config.seed)
    replay = make_replay(config.replay_capacity, facts, generator)
    learner = Learner(new_algorithm(), replay, config.ratio, line, config.publish_every)
    snapshot = None
    if resume:
        snapshot = load_newest(config.out / CHECKPOINTS, lambda text: face.say(f"[yellow]{escape(text)}[/]"))
        learner.restore(snapshot)
    else:
        for transitions in random_experience(config.episodes, load_sight(config.encoder), facts):
            learner.take(*transitions.arrays())
    with Course(config, facts, learner, begin(config, snapshot), new_algorithm, face) as plan:
        yield plan
