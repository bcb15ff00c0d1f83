"""What an actor is told and does, whatever machine it is on: it needs its orders, a number, and nothing else."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

import gymnasium
import numpy as np
import torch
import zmq

from agent.actors.driver import Driver, LearnerGone
from agent.actors.fleet import Fleet, encode_by
from agent.checkpoint import PolicyFacts, flat_weights, make_actor
from agent.line.channel import ActorEnd, Addresses
from agent.line.loopback import Loopback
from agent.noise import OrnsteinUhlenbeck, between, ladder
from agent.training.config import TrainConfig
from agent.training.supervisor import Job, Link, Orphaned
from deploy.keys import ClientKeys

FACTS, GRAPH = "facts.json", "vae.onnx"  # files in a run's folder that orders are made of, beside its CONFIG


@dataclass(frozen=True)
class Orders:
    """What all actors of a run must know."""

    config: TrainConfig  # of which what `make_env` takes, seed, actors, envs_per_actor and noise matter to them
    facts: PolicyFacts
    graph: bytes  # the encoder, as `perception.graph.encoder_graph` returns it
    learner: Addresses
    keys: ClientKeys | None = None


def actor_jobs(orders: Orders, numbers: range) -> list[Job]:
    """These actors, as processes for a Supervisor."""
    return [Job(f"actor {number}", drive, (orders, number)) for number in numbers]


def drive(link: Link, life: int, orders: Orders, number: int) -> None:
    """Be an actor's process until training is over or the process that started it has ended."""
    with line_to_learner(orders, number) as line:
        run_driver(orders.config, orders.facts, orders.graph, line, life, link.beat)


@contextmanager
def line_to_learner(orders: Orders, number: int) -> Iterator[ActorEnd]:
    """The line of an actor, which takes only weights that fit it."""
    size = flat_weights(make_actor(orders.facts)).numel()
    with zmq.Context() as context, closing(ActorEnd(context, orders.learner, number, orders.keys, size)) as line:
        yield line


def run_driver(
    config: TrainConfig,
    facts: PolicyFacts,
    graph: bytes,
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
    with closing(Fleet(envs, encode_by(graph))) as fleet, suppress(LearnerGone, Orphaned):
        Driver(fleet, make_actor(facts), noises, line, beat, config.roads == "fixed").run()


def make_env(config: TrainConfig) -> gymnasium.Env:
    """The route to learn, or the routes."""
    route = {name: getattr(config, name) for name in ("scenario", "roads", "road_seed", "length_m")}
    return gymnasium.make(config.env, **route)


def make_noise(config: TrainConfig, facts: PolicyFacts, car: int, life: int) -> OrnsteinUhlenbeck:
    """The noise of a car, counted over all actors.

    Of the run's own cars the first has the full one, the last 1/32 (Barth-Maron 2018). Nobody knows how many more there
    are on other machines: these take places in between, so that any number of them is spread evenly.
    """
    count = config.actors * config.envs_per_actor
    seeds = np.random.SeedSequence(config.seed, spawn_key=(car, life) if life else (car,) if car else ())
    strength = ladder(count - 1 - car, count) if car < count else between(car - count)
    return OrnsteinUhlenbeck(config.noise, facts.action_size, np.random.default_rng(seeds), strength)
