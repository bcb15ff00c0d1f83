"""What asynchrony gains, and what the learner's channel bears.

    python -m benchmarks.asynchrony [--json]          the channel, measured now; learning and scaling from stored runs
    python -m benchmarks.asynchrony --full [--json]   makes the stored runs: half an hour

The channel: an actor's process on one core sends transitions (latent 32 and state) at a fixed rate and looks for
weights as a driver does; the learner on another core updates without a pause. By turns the actor sends or is silent, so
that a busy machine slows both alike. Learning: `lapwing train` with --sync and without, by turns, until the first test
that drives the whole 250 m; the command's whole time counts, from its start. Scaling: real actors, real roads.
"""

import csv
import json
import os
import subprocess
import sys
import time
from contextlib import closing, suppress
from ctypes import c_double
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np
import torch
import zmq
from rich.console import Console
from rich.table import Table

from agent.actors.driver import CHUNK
from agent.actors.orders import Orders, actor_jobs
from agent.algorithms.ddpg import DDPG
from agent.checkpoint import PolicyFacts
from agent.line.channel import ActorEnd, Addresses, LearnerEnd
from agent.line.rendezvous import rendezvous
from agent.replay.uniform import Replay
from agent.training.config import TrainConfig, resolved
from agent.training.course import Face
from agent.training.jobs import course
from agent.training.learner import Learner
from agent.training.ratio import Ratio
from agent.training.supervisor import Job, Link, Supervisor
from agent.training.train import gather_facts
from benchmarks.runs import called, prepare, write_page
from deploy.wire import Experience, Weights
from perception.files import write_whole
from perception.graph import encoder_graph

RESULTS, RUNS, PAGE = Path("benchmarks/results/asynchrony"), Path("runs/asynchrony"), Path("docs/scaling.md")
OBS, ACTION = 32 + 6, 2
ROUNDS, ROUND_S = 4, 2.5  # of sending, and as many of silence
RATE = 24_000  # transitions per second that the actor sends; 20,000 are to be borne
LOOK_S = 0.001  # between an actor's looks for weights; a driver looks once in every step of its cars
ACTORS, SCALING_S = (1, 2, 4, 8), 20.0


@dataclass(frozen=True)
class Config:
    """Measure what asynchrony gains."""

    json: bool = False  # print one JSON object as the last line
    full: bool = False  # make the stored runs of learning and scaling anew, and write docs/scaling.md
    seeds: int = 5  # of learning, with a road each


# -- the channel


class TimedEnd(LearnerEnd):
    """A learner's end that knows when it published what."""

    published_at_s: dict[int, float]

    def publish(self, header: Weights, weights: np.ndarray) -> None:
        super().publish(header, weights)
        self.published_at_s[header.version] = time.monotonic()


class RoundOver(Exception):
    """The time is up."""


def send(rate: Any, core: int, addresses: Addresses, pipe: Connection) -> None:
    """Be the actor: send `rate` transitions per second until it is negative, then tell when each weights arrived."""
    os.sched_setaffinity(0, {core})
    rng, arrived, sent = np.random.default_rng(0), list[tuple[int, float]](), 0.0
    floats = [rng.standard_normal((CHUNK, width), dtype=np.float32) for width in (OBS, ACTION, OBS)]
    arrays = floats[0], floats[1], floats[2][:, 0], np.zeros(CHUNK, bool), floats[2]
    with zmq.Context() as context, closing(ActorEnd(context, addresses)) as line:
        before_s = time.monotonic()
        while rate.value >= 0:
            now_s = time.monotonic()
            sent, before_s = sent + rate.value * (now_s - before_s), now_s
            while sent >= CHUNK:
                sent -= CHUNK
                line.send(Experience(episode=0, first=0, actor=0), *arrays)
            if newest := line.newest_weights():
                arrived.append((newest[0].version, time.monotonic()))
            time.sleep(LOOK_S)
    pipe.send((arrived, line.outbox.dropped))


def channel(console: Console) -> dict[str, float]:
    """Transitions taken per second, updates beside that as a share of those without, and the weights' way in ms."""
    rates = []
    with rendezvous(None, None, None) as met, zmq.Context() as context, closing(TimedEnd(context, met.learner)) as line:
        line.published_at_s = {}
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[0]})  # a child of this process begins there, too
        learner, rate = full_learner(line), RawValue(c_double, 0.0)
        spawn = get_context("spawn")
        ours, theirs = spawn.Pipe(duplex=False)
        actor = spawn.Process(target=send, args=(rate, cores[-1], met.actors, theirs), daemon=True)
        actor.start()
        while 0 not in line.heard_at_s and actor.is_alive():
            run_for(learner, 0.1)
        for _ in range(ROUNDS):
            rate.value = 0.0
            silent = run_for(learner, ROUND_S)
            rate.value = RATE
            rates.append((silent, run_for(learner, ROUND_S)))
        rate.value = -1.0
        theirs.close()  # so that an actor that died is noticed
        arrived, dropped = ours.recv()
        actor.join()
        os.sched_setaffinity(0, cores)
    way_ms = [1e3 * (at_s - line.published_at_s[version]) for version, at_s in arrived]
    found = {
        "ingest_transitions_per_s": median(busy[0] for _, busy in rates),
        "updates_retained": median(busy[1] / silent[1] for silent, busy in rates),
        "updates_per_s_idle": median(silent[1] for silent, _ in rates),
        "weights_p50_ms": float(np.percentile(way_ms, 50)),
        "weights_p99_ms": float(np.percentile(way_ms, 99)),
        "weights_arrived": len({version for version, _ in arrived}) / len(line.published_at_s),
        "dropped_messages": dropped,
    }
    console.print(rows("The learner's channel, one actor", found))
    return found


def full_learner(line: LearnerEnd) -> Learner:
    """A learner with the lane's own DDPG, full replay, and updates due without end."""
    torch.set_num_threads(1)
    config = TrainConfig()
    replay = Replay(config.replay_capacity, OBS, ACTION, torch.Generator().manual_seed(0))
    learner = Learner(DDPG(config.ddpg, OBS, ACTION), replay, Ratio(0.0, 1e9), line)
    rng = np.random.default_rng(0)
    first, action, last = (
        rng.standard_normal((replay.capacity, width), dtype=np.float32) for width in (OBS, ACTION, OBS)
    )
    learner.take(first, action, first[:, 0], np.zeros(len(first), bool), last)
    return learner


def run_for(learner: Learner, seconds: float) -> tuple[float, float]:
    """Learn for a time; returns transitions taken and updates made, per second."""
    began, transitions, updates = time.perf_counter(), learner.transitions, learner.updates

    def watch() -> None:
        if time.perf_counter() - began > seconds:
            raise RoundOver

    with suppress(RoundOver):
        learner.run(lambda *_: False, watch)
    took = time.perf_counter() - began
    return (learner.transitions - transitions) / took, (learner.updates - updates) / took


# -- learning


class Learned(msgspec.Struct, frozen=True):
    """One run until the first test that drove the whole route."""

    seed: int
    mode: str
    wall_s: float  # of the command
    learning_s: float  # on the learner's clock, until that test
    episodes: int  # training
    updates: int


MODES = {"sync": ["--sync"], "async": []}


def learn_by_turns(config: Config, console: Console) -> list[Learned]:
    """Each seed by every mode, one after the other."""
    found = []
    for seed in range(config.seeds):
        for mode, options in MODES.items():
            found.append(learn_once(seed, mode, options))
            console.print(f"seed {seed} {mode:5} {found[-1].wall_s:5.1f} s  {found[-1].episodes} episodes")
    return found


def learn_once(seed: int, mode: str, options: list[str]) -> Learned:
    """Run `lapwing train` until a test drives the whole route; raises CalledProcessError when none does."""
    out = RUNS / f"{mode}-{seed}"
    command = [sys.executable, "-m", "lapwing", "train", "--passes", "1", "--out", str(out), *options]
    command += ["--encoder", str(RUNS / "vae/vae.safetensors"), "--episodes", str(RUNS / "episodes")]
    command += ["--seed", str(seed), "--road-seed", str(seed)]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    wall_s = time.perf_counter() - began
    with (out / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    passed = next(row for row in rows if row["kind"] == "test" and row["finished"] == "True")
    episodes = sum(row["kind"] == "train" for row in rows)
    return Learned(seed, mode, round(wall_s, 2), float(passed["seconds"]), episodes, int(passed["updates"]))


def learning(runs: list[Learned], console: Console) -> dict[str, float]:
    """Ratios of the medians of all runs."""

    def typical(figure: str, mode: str) -> float:
        return median(getattr(run, figure) for run in runs if run.mode == mode)

    table = Table("", *MODES, "async / sync", title=f"Until the first whole route, median of {len(runs) // 2} seeds")
    ratios = {}
    for figure in ("wall_s", "learning_s", "episodes", "updates"):
        sync, other = (typical(figure, mode) for mode in MODES)
        ratios[figure] = other / sync
        table.add_row(figure, f"{sync:.1f}", f"{other:.1f}", f"{other / sync:.2f}")
    console.print(table)
    return {"async_over_sync_wall": ratios["wall_s"], "async_over_sync_learning": ratios["learning_s"]}


# -- scaling


class Scaled(msgspec.Struct, frozen=True):
    """What so many actors came to."""

    actors: int
    transitions_per_s: float  # as lived and mirrored
    updates_per_s: float
    weight_age_ms: float  # between two publications


def scale(console: Console) -> list[Scaled]:
    """Real actors and a learner that never lacks updates to make, for each number of actors."""
    return [scale_once(actors, console) for actors in ACTORS]


def scale_once(actors: int, console: Console) -> Scaled:
    asked = TrainConfig(
        encoder=RUNS / "vae/vae.safetensors",
        episodes=RUNS / "episodes",
        out=RUNS / f"scaling-{actors}",
        actors=actors,
        passes=10**6,
        max_episodes=10**6,
        restart_after=10**6,
        ratio=Ratio(band=10**18),  # beyond what `count` makes due, so that no car ever waits
    )
    facts = gather_facts(asked)
    config = resolved(asked, facts.top_speed_mps * facts.period_s)
    config.out.mkdir(parents=True, exist_ok=True)
    with rendezvous(None, None, None) as met:
        orders = Orders(config, facts, encoder_graph(config.encoder), met.actors)
        learner = Job("the learner", count, (config, facts, met.learner), silence_s=60.0)
        with Supervisor([learner, *actor_jobs(orders, range(actors))], console.print) as supervisor:
            found = next(event for event in supervisor.events() if isinstance(event, Scaled))
            for worker in supervisor.workers:
                worker.process.kill()
    console.print(f"{actors} actors: {found.transitions_per_s:.0f} transitions/s, {found.updates_per_s:.0f} updates/s")
    return found


def count(link: Link, life: int, config: TrainConfig, facts: PolicyFacts, addresses: Addresses) -> None:
    """Be the learner: once all actors drive, learn for a while; tells what it came to."""
    silent = Face(lambda _: None, lambda _: None)
    with (
        zmq.Context() as context,
        closing(LearnerEnd(context, addresses)) as line,
        course(config, facts, line, silent, resume=False) as plan,
    ):
        learner = plan.learner
        learner.ratio = replace(config.ratio, per_step=1e9)  # updates without end
        while len(line.heard_at_s) < config.actors:
            run_for(learner, 0.5)
            link.beat()
        run_for(learner, 2.0)
        link.beat()
        version = learner.version
        transitions, updates = run_for(learner, SCALING_S)
        age_ms = 1e3 * SCALING_S / max(1, learner.version - version)
        link.tell(Scaled(config.actors, round(transitions, 1), round(updates, 1), round(age_ms, 2)))


# -- all of it


def store(name: str, found: list[Any]) -> None:
    write_whole(RESULTS / f"{name}.json", msgspec.json.format(msgspec.json.encode(found)))


def stored(name: str, kind: type) -> list[Any]:
    return msgspec.json.decode((RESULTS / f"{name}.json").read_bytes(), type=list[kind])


def rows(title: str, found: dict[str, float]) -> Table:
    """A table of figures and their names."""
    table = Table("", "", title=title)
    for name, value in found.items():
        table.add_row(name, f"{value:,.2f}")
    return table


def scaling_table(found: list[Scaled]) -> str:
    """In Markdown."""
    lines = ["| actors | transitions/s | updates/s | ms between weights |", "|--:|--:|--:|--:|"]
    lines += [
        f"| {one.actors} | {one.transitions_per_s:,.0f} | {one.updates_per_s:,.0f} | {one.weight_age_ms:.0f} |"
        for one in found
    ]
    return "\n".join(lines)


def main(config: Config) -> None:
    console = Console()
    if config.full:
        prepare(RUNS)
        store("learning", learn_by_turns(config, console))
        store("scaling", found := scale(console))
        write_page(PAGE, "benchmarks.asynchrony", scaling_table(found))
    figures = learning(stored("learning", Learned), console) | channel(console)
    if config.json:
        print(json.dumps(figures))  # noqa: T201


if __name__ == "__main__":
    sys.exit(called(main, Config))
