"""A long run in which something is killed every 20 seconds, and what that did to it.

    python -m benchmarks.soak [--minutes 30] [--json]

The learner or an actor, drawn by lot, is killed (or, now and then, frozen) while real cars drive. Every actor writes
down what it sends and what the learner acknowledged as saved, before it sends it; in the end that is held against the
last checkpoint: each message of each actor's life is in it once, up to some number that is no less than the greatest
acknowledged. Memory is that of all processes, once the replay is full, at the beginning and at the end. The curve is
held against undisturbed runs of three seeds. The result stands in benchmarks/results/soak.json.
"""

import csv
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median

import msgspec
import numpy as np
import tyro
import zmq
from rich.console import Console

from agent.actors import Orders, run_driver
from agent.channel import ActorEnd, Addresses, Upward
from agent.jobs import Said, learn
from agent.rendezvous import rendezvous
from agent.snapshot import CHECKPOINTS, Snapshot, load_newest, snapshots
from agent.supervisor import Job, Link, Supervisor
from agent.train import gather_facts
from agent.train_config import TrainConfig, resolved
from benchmarks.asynchrony import RUNS, prepare
from deploy.wire import Experience
from perception.episodes import read_episodes
from perception.files import write_whole
from perception.graph import encoder_graph

RESULT = Path("benchmarks/results/soak.json")
WINDOW = 4000  # updates whose tests are averaged
SEEDS, CURVE = 3, 20_000  # undisturbed runs, and the updates that they are compared on
FROZEN = 0.2  # share of the victims that are stopped instead of killed


@dataclass(frozen=True)
class Config:
    """Train while processes are killed."""

    minutes: float = 30.0  # of the disturbed run
    every_s: float = 20.0  # from one victim to the next
    actors: int = 2
    compare: bool = True  # with undisturbed runs
    seed: int = 0  # of the run and of the lots
    out: Path = RUNS / "soak"  # folder for the runs
    json: bool = False  # print one JSON object as the last line


class Result(msgspec.Struct, frozen=True):
    """What came of it."""

    minutes: float
    killed: dict[str, int]
    frozen: dict[str, int]
    restarts: int
    acknowledged: int  # transitions that actors were told are saved
    lost: int  # of those, not in the last checkpoint
    doubled: int  # transitions in the last checkpoint beyond those that were sent
    never_arrived: int  # transitions that are missing between those that are there; they were not acknowledged
    rss_growth: float  # of all processes, from the second quarter, by when the replay is full, to the last
    rss_mb: float  # median
    tests: int
    whole_routes: int  # of them
    curve_m: list[float]  # mean test distance in each window of updates, -1 where there was no test
    undisturbed_m: list[list[float]]


# -- actors that keep books


class AuditedEnd(ActorEnd):
    """Writes a line for each message before it is sent, "number transitions", and for what is saved, "saved number"."""

    def __init__(self, context: zmq.Context, addresses: Addresses, actor: int, folder: Path) -> None:
        super().__init__(context, addresses, actor)
        folder.mkdir(parents=True, exist_ok=True)
        self._book = os.open(folder / str(self.outbox.life), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._saved = 0

    def send(self, message: Upward, *arrays: np.ndarray) -> bool:
        count = len(arrays[0]) if isinstance(message, Experience) else 0
        self._write(f"{self.sent} {count}\n")
        return super().send(message, *arrays)

    def deliver(self) -> None:
        super().deliver()
        if self.outbox.saved > self._saved:
            self._saved = self.outbox.saved
            self._write(f"saved {self._saved}\n")

    def close(self) -> None:
        super().close()
        os.close(self._book)

    def _write(self, line: str) -> None:
        os.write(self._book, line.encode())  # at once: who is killed flushes nothing


def drive(link: Link, life: int, orders: Orders, number: int, books: Path) -> None:
    """Be an actor's process that keeps books."""
    with zmq.Context() as context, closing(AuditedEnd(context, orders.learner, number, books)) as line:
        run_driver(orders.config, orders.facts, orders.graph, line, life, link.beat)


def audit(books: Path, snapshot: Snapshot, random_transitions: int) -> dict[str, int]:
    """Transitions by the actors' books and a checkpoint, named as in Result."""
    arrived = dict(snapshot.facts["arrived"])
    acknowledged = lost = sent_and_arrived = 0
    for book in books.iterdir():
        lines = [line.split() for line in book.read_text().splitlines()]
        counts = {int(number): int(count) for number, count in lines if number != "saved"}
        saved = max((int(number) for word, number in lines if word == "saved"), default=0)
        before = arrived.get(int(book.name), 0)
        acknowledged += sum(count for number, count in counts.items() if number < saved)
        lost += sum(count for number, count in counts.items() if before <= number < saved)
        sent_and_arrived += sum(count for number, count in counts.items() if number < before)
    excess = snapshot.facts["transitions"] - random_transitions - sent_and_arrived
    return {
        "acknowledged": acknowledged,
        "lost": lost,
        "doubled": max(0, excess),
        "never_arrived": max(0, -excess),
    }


# -- the run


@dataclass
class Log:
    """What was done to a run and what it said."""

    killed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    frozen: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    restarts: int = 0
    rss_mb: list[float] = field(default_factory=list)  # of all processes, once a victim


@contextmanager
def running(asked: TrainConfig, tell: Callable[[str], None]) -> Iterator[tuple[Supervisor, Path]]:
    """A learner and actors that keep books at work, in a folder that was empty before; they end with the block."""
    facts = gather_facts(asked)
    config = resolved(asked, facts.top_speed_mps * facts.period_s)
    shutil.rmtree(config.out, ignore_errors=True)
    config.out.mkdir(parents=True)
    with rendezvous(None, None, None) as met:
        orders = Orders(config, facts, encoder_graph(config.encoder), met.actors)
        jobs = [Job("the learner", learn, (config, facts, met.learner, None), silence_s=15.0)]
        jobs += [Job(f"actor {i}", drive, (orders, i, config.out / "books")) for i in range(config.actors)]
        with Supervisor(jobs, tell) as supervisor:
            yield supervisor, config.out
            for worker in supervisor.workers:
                worker.process.kill()


def soak(asked: TrainConfig, config: Config, lots: random.Random, console: Console) -> Log:
    """Train for that long, one victim after the other."""
    log = Log()

    def tell(text: str) -> None:
        log.restarts += 1
        console.print(f"[dim]{text}[/]")

    with running(asked, tell) as (supervisor, _):
        _disturb(supervisor, log, config, lots, console)
    return log


def _disturb(supervisor: Supervisor, log: Log, config: Config, lots: random.Random, console: Console) -> None:
    began_s = latest_s = time.monotonic()
    for event in supervisor.events():
        if isinstance(event, Said):
            console.print(event.text)
        now_s = time.monotonic()
        if now_s - began_s > 60 * config.minutes:
            return
        if now_s - latest_s > config.every_s:
            latest_s = now_s
            log.rss_mb.append(rss_mb(os.getpid()) + sum(rss_mb(worker.process.pid) for worker in supervisor.workers))
            victim, freeze = lots.choice(supervisor.workers), lots.random() < FROZEN
            (log.frozen if freeze else log.killed)[victim.job.name] += 1
            os.kill(victim.process.pid or 0, signal.SIGSTOP if freeze else signal.SIGKILL)


def rss_mb(pid: int | None) -> float:
    """Memory that a process holds; 0 for one that has just died."""
    try:
        status = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0.0
    return int(status[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def growth(rss_mb: list[float]) -> float:
    """From the second quarter, by when the replay is full, to the last."""
    quarter = max(1, len(rss_mb) // 4)
    return median(rss_mb[-quarter:]) / median(rss_mb[quarter : 2 * quarter] or rss_mb) - 1


def curve(run: Path) -> list[float]:
    """Mean distance of the tests in each window of updates, metres."""
    windows = defaultdict[int, list[float]](list)
    with (run / "episodes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "test":
                windows[int(row["updates"]) // WINDOW].append(float(row["distance_m"]))
    return [round(mean(windows[i]), 1) if windows[i] else -1.0 for i in range(CURVE // WINDOW)]


def settings(config: Config, seed: int, name: str) -> TrainConfig:
    """Those of all runs: never over, saved every few seconds, a replay that is full after a minute."""
    return TrainConfig(
        encoder=RUNS / "vae/vae.safetensors",
        episodes=RUNS / "episodes",
        out=config.out / name,
        seed=seed,
        actors=config.actors,
        passes=10**6,
        max_episodes=10**6,
        restart_after=10**6,
        checkpoint_every=1000,
        replay_capacity=20_000,
    )


def undisturbed(config: Config, seed: int, console: Console) -> list[float]:
    """The curve of a run that nothing happens to."""
    asked = settings(config, seed, f"undisturbed-{seed}")
    with (
        running(asked, console.print) as (supervisor, run),
        suppress(StopIteration),
    ):
        events = supervisor.events()
        while _updates(run) < CURVE:
            next(events)
    return curve(asked.out)


def _updates(run: Path) -> int:
    """So far, by the newest checkpoint."""
    return max((int(path.name.removeprefix("step-")) for path in snapshots(run / CHECKPOINTS)), default=0)


def main(config: Config) -> None:
    console, lots = Console(), random.Random(config.seed)
    prepare()
    asked = settings(config, config.seed, "disturbed")
    log = soak(asked, config, lots, console)
    snapshot = load_newest(asked.out / CHECKPOINTS, console.print)
    random_transitions = 2 * sum(len(episode.rewards) for episode in read_episodes(asked.episodes))
    tests = snapshot.facts["progress"]["tests"]
    result = Result(
        minutes=config.minutes,
        killed=dict(log.killed),
        frozen=dict(log.frozen),
        restarts=log.restarts,
        **audit(asked.out / "books", snapshot, random_transitions),
        rss_growth=round(growth(log.rss_mb), 4),
        rss_mb=round(median(log.rss_mb)),
        tests=len(tests),
        whole_routes=sum(test["finished"] for test in tests),
        curve_m=curve(asked.out),
        undisturbed_m=[undisturbed(config, seed, console) for seed in range(SEEDS)] if config.compare else [],
    )
    if config.compare:
        write_whole(RESULT, msgspec.json.format(msgspec.json.encode(result)))
    console.print(result)
    if config.json:
        print(json.dumps(msgspec.to_builtins(result)))  # noqa: T201


if __name__ == "__main__":
    try:
        main(tyro.cli(Config))
    except KeyboardInterrupt:
        sys.exit(130)
