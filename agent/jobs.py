"""What the processes of a run do: the learner's, and each actor's."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pkgutil import resolve_name

import gymnasium
import numpy as np
import torch
import zmq

from agent.actor import Driver, LearnerGone
from agent.algorithms import ALGORITHMS
from agent.channel import ActorEnd, Addresses, LearnerEnd
from agent.checkpoint import PolicyFacts, make_actor
from agent.experience import random_experience
from agent.fleet import Fleet, encode_by
from agent.latent import RateLimit
from agent.learner import Algorithm, Learner
from agent.lesson import Face, Lesson, Progress, begin
from agent.loopback import Loopback
from agent.noise import OrnsteinUhlenbeck, ladder
from agent.replay import Replay
from agent.snapshot import CHECKPOINTS, load_newest, snapshots
from agent.supervisor import Link, Orphaned
from agent.train_config import TrainConfig
from perception.encoders import load_encoder

GRAPH = "vae.onnx"  # the encoder in a run's folder, as actors use it


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


def learn(link: Link, life: int, config: TrainConfig, facts: PolicyFacts, addresses: Addresses) -> None:
    """Be the learner's process until training is over; tells Said, Doing and at the end Progress, or Failed.

    A life after the first goes on from the newest checkpoint, if there is one yet.
    """
    face = Face(lambda text: link.tell(Said(text)), lambda text: link.tell(Doing(text)))
    resume = config.resume or (life > 0 and bool(snapshots(config.out / CHECKPOINTS)))
    try:
        with (
            zmq.Context() as context,
            closing(LearnerEnd(context, addresses)) as line,
            lesson(config, facts, line, face, resume) as plan,
        ):
            plan.learner.run(plan.judge, link.beat)
            plan.learner.stop()
        link.tell(plan.progress)
    except Orphaned:  # nobody is left to learn for
        return
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
        link.tell(Failed(str(error)))


def drive(link: Link, life: int, actor: int, config: TrainConfig, facts: PolicyFacts, addresses: Addresses) -> None:
    """Be an actor's process until training is over or the process that started it has ended."""
    with zmq.Context() as context, closing(ActorEnd(context, addresses, actor)) as line:
        run_driver(config, facts, line, life, link.beat)


def in_turns(config: TrainConfig, facts: PolicyFacts, face: Face) -> Progress:
    """Drive and learn by turns in this process, which depends on the config alone; returns what it has come to."""
    line = Loopback()
    with lesson(config, facts, line, face, config.resume) as plan:
        line.turn = lambda: plan.learner.take_turn(plan.judge)
        run_driver(config, facts, line)
        return plan.progress


@contextmanager
def lesson(
    config: TrainConfig, facts: PolicyFacts, line: LearnerEnd | Loopback, face: Face, resume: bool
) -> Iterator[Lesson]:
    """A learner and its judge, from the newest checkpoint or with random experience.

    Raises SnapshotError or DatasetError where that cannot be read.
    """
    torch.set_num_threads(1)
    torch.manual_seed(config.seed)
    limit = RateLimit(facts.max_steering_rate_radps * facts.period_s / facts.max_steering_rad)

    def new_algorithm() -> Algorithm:
        return resolve_name(ALGORITHMS[config.algo])(config.settings, facts.obs_size, facts.action_size, limit)

    generator = torch.Generator().manual_seed(config.seed)
    replay = Replay(config.replay_capacity, facts.obs_size, facts.action_size, generator)
    learner = Learner(new_algorithm(), replay, config.ratio, line)
    snapshot = None
    if resume:
        snapshot = load_newest(config.out / CHECKPOINTS, lambda text: face.say(f"[yellow]{text}[/]"))
        learner.restore(snapshot)
    else:
        learner.take(*random_experience(config.episodes, load_encoder(config.encoder), facts).arrays())
    with Lesson(config, facts, learner, begin(config, snapshot), new_algorithm, face) as plan:
        yield plan


def run_driver(
    config: TrainConfig,
    facts: PolicyFacts,
    line: ActorEnd | Loopback,
    life: int = 0,
    beat: Callable[[], None] = lambda: None,
) -> None:
    """Drive the cars of one actor until training is over; of its later lives none has the noise of another."""
    torch.set_num_threads(1)
    count, first = config.envs_per_actor, line.actor * config.envs_per_actor
    cars = range(first, first + count)
    envs = [make_env(config) for _ in cars]
    for car, env in zip(cars, envs, strict=True):
        env.reset(seed=config.seed + car)
    noises = [make_noise(config, facts, car, life) for car in cars]
    fleet = Fleet(envs, encode_by((config.out / GRAPH).read_bytes()))
    with closing(fleet), suppress(LearnerGone, Orphaned):
        Driver(fleet, make_actor(facts), noises, line, beat).run()


def make_env(config: TrainConfig) -> gymnasium.Env:
    """The route to learn."""
    return gymnasium.make(config.env, road_seed=config.road_seed, length_m=config.length_m)


def make_noise(config: TrainConfig, facts: PolicyFacts, car: int, life: int) -> OrnsteinUhlenbeck:
    """The noise of a car, counted over all actors: the first has the full one, the last 1/32 (Barth-Maron 2018)."""
    count = config.actors * config.envs_per_actor
    seeds = np.random.SeedSequence(config.seed, spawn_key=(car,) * (life + (car > 0)))
    return OrnsteinUhlenbeck(
        config.noise, facts.action_size, np.random.default_rng(seeds), ladder(count - 1 - car, count)
    )
