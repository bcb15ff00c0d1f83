"""A long run in which something is killed every 20 seconds, and what that did to it.

    python -m benchmarks.soak [--minutes 30] [--json]

The learner or an actor, drawn by lot, is killed (or, now and then, frozen) while real cars drive. Every actor writes
down what it sends, before it sends it, and what the learner acknowledged as saved; the learner what it takes, what it
saves and from where it goes on. In the end the books are held against each other: what was acknowledged is in the last
checkpoint, and nothing is there twice. Then come undisturbed runs of three seeds, against which the curve is held; the
memory of each process of the first is watched. The result stands in benchmarks/results/soak.json.
"""

import csv
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median

import msgspec
import numpy as np
import zmq
from rich.console import Console

import agent.training.learner
from agent.actors.orders import Orders, run_driver
from agent.checkpoint import PolicyFacts
from agent.line.channel import ActorEnd, Addresses, LearnerEnd, Upward
from agent.line.rendezvous import rendezvous
from agent.snapshot import CHECKPOINTS, Snapshot, load_newest, save_snapshot, snapshots
from agent.training import jobs
from agent.training.config import TrainConfig, resolved
from agent.training.jobs import Said
from agent.training.supervisor import Job, Link, Supervisor
from agent.training.train import gather_facts
from benchmarks.asynchrony import RUNS
from benchmarks.runs import called, prepare
from deploy.wire import Delivery, Experience
from perception.files import write_whole
from perception.graph import encoder_graph

RESULT = Path("benchmarks/results/soak.json")
WINDOW = 4000  # updates whose tests are averaged
SEEDS, CURVE = 3, 20_000  # undisturbed runs, and the updates that they are compared on
LEAK_MINUTES, SAMPLE_S = 5.0, 2.0  # of the undisturbed run whose memory is watched
LEARNER = "learner"  # its book, beside those of the actors' lives
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


class Audit(msgspec.Struct):
    """Transitions in the actors' books, and in the last checkpoint."""

    acknowledged: int = 0  # that actors were told are saved
    lost: int = 0  # of those, not there
    doubled: int = 0  # there more than once
    never_arrived: int = 0  # missing between those that are there


class Result(msgspec.Struct, frozen=True):
    """What came of it."""

    minutes: float
    killed: dict[str, int]
    frozen: dict[str, int]
    restarts: int
    audit: Audit
    tests: int
    whole_routes: int  # of them
    curve_m: list[float]  # mean test distance in each window of updates, -1 where there was no test
    undisturbed_m: list[list[float]] = []  # the same of other seeds
    rss_growth: dict[str, float] = {}  # of each process of the first of those, once its replay is full, to its end


# -- actors that keep books


class AuditedEnd(ActorEnd):
    """Writes a line for each message before it is sent, "number transitions", and for what is saved, "saved number"."""

    def __init__(self, context: zmq.Context, addresses: Addresses, actor: int, folder: Path) -> None:
        super().__init__(context, addresses, actor)
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


def learn_audited(
    link: Link, life: int, config: TrainConfig, facts: PolicyFacts, addresses: Addresses, book: Path
) -> None:
    """Be the learner's process, with a book of each message that it takes, each checkpoint, and where it goes on."""
    file = os.open(book, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    class Audited(LearnerEnd):
        def receive(self, wait_ms: int = 0) -> Iterator[tuple[Upward, list[np.ndarray]]]:
            taken, self.inbox.take = self.inbox.take, lambda delivery: taken(delivery) and note(delivery)
            try:
                yield from super().receive(wait_ms)
            finally:
                self.inbox.take = taken

    def note(delivery: Delivery) -> bool:
        os.write(file, f"took {delivery.life} {delivery.number}\n".encode())
        return True

    def save(folder: Path, snapshot: Snapshot) -> None:
        os.write(file, f"saves {snapshot.step} 0\n".encode())
        save_snapshot(folder, snapshot)

    def load(folder: Path, warn: Callable[[str], None]) -> Snapshot:
        snapshot = load_newest(folder, warn)
        os.write(file, f"resumes {snapshot.step} 0\n".encode())
        return snapshot

    if not snapshots(config.out / CHECKPOINTS):
        os.write(file, b"begins 0 0\n")
    jobs.LearnerEnd, jobs.load_newest = Audited, load  # of this process alone
    agent.training.learner.save_snapshot = save
    jobs.learn(link, life, config, facts, addresses, None)


def learned(book: Path, step: int) -> Counter[tuple[int, int]]:
    """How often a checkpoint has each message, by the learner's book: (life, number)."""
    saved, now = {0: Counter[tuple[int, int]]()}, Counter[tuple[int, int]]()
    for line in book.read_text().splitlines():
        word, first, second = line.split()
        match word:
            case "took":
                now[int(first), int(second)] += 1
            case "saves":
                saved[int(first)] = now.copy()
            case _:  # begins, resumes
                now = saved[int(first)].copy()
    return saved[step]


def audit(books: Path, snapshot: Snapshot) -> Audit:
    """Hold the actors' books against the learner's, up to that checkpoint."""
    found = Audit()
    taken = learned(books / LEARNER, snapshot.step)
    for book in books.iterdir():
        if book.name == LEARNER:
            continue
        life, lines = int(book.name), [line.split() for line in book.read_text().splitlines()]
        counts = {int(number): int(count) for number, count in lines if number != "saved"}
        saved = max((int(number) for word, number in lines if word == "saved"), default=0)
        last = max((number for of, number in taken if of == life), default=-1)
        for number, count in counts.items():
            times = taken[life, number]
            found.acknowledged += count * (number < saved)
            found.lost += count * (number < saved and times == 0)
            found.doubled += count * max(0, times - 1)
            found.never_arrived += count * (number < last and times == 0)
    return found


# -- the run


@dataclass
class Log:
    """What was done to a run and what it said."""

    killed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    frozen: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    restarts: int = 0


@contextmanager
def running(asked: TrainConfig, tell: Callable[[str], None]) -> Iterator[tuple[Supervisor, Path]]:
    """A learner and actors that keep books at work, in a folder that was empty before; they end with the block."""
    facts = gather_facts(asked)
    config = resolved(asked, facts.top_speed_mps * facts.period_s)
    shutil.rmtree(config.out, ignore_errors=True)
    config.out.mkdir(parents=True)
    with rendezvous(None, None, None) as met:
        orders = Orders(config, facts, encoder_graph(config.encoder), met.actors)
        (books := config.out / "books").mkdir()
        learner = (config, facts, met.learner, books / LEARNER)
        work = [Job("the learner", learn_audited, learner, silence_s=15.0)]
        work += [Job(f"actor {i}", drive, (orders, i, books)) for i in range(config.actors)]
        with Supervisor(work, tell) as supervisor:
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
    quarter = len(rss_mb) // 4
    return median(rss_mb[-quarter:]) / median(rss_mb[quarter : 2 * quarter]) - 1


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


def undisturbed(config: Config, seed: int, minutes: float, console: Console) -> dict[str, list[float]]:
    """The memory of each process of a run that nothing happens to, MB every two seconds; it leaves its curve.

    It goes on for so many minutes, and until there are enough updates to compare curves.
    """
    asked = settings(config, seed, f"undisturbed-{seed}")
    held = defaultdict[str, list[float]](list)
    with running(asked, console.print) as (supervisor, run):
        began_s = next_s = time.monotonic()
        for _ in supervisor.events():
            now_s = time.monotonic()
            if now_s > next_s:
                next_s = now_s + SAMPLE_S
                held["the supervisor"].append(rss_mb(os.getpid()))
                for worker in supervisor.workers:
                    held[worker.job.name].append(rss_mb(worker.process.pid))
            if now_s - began_s > 60 * minutes and _updates(run) >= CURVE:
                break
    return held


def _updates(run: Path) -> int:
    """So far, by the newest checkpoint."""
    return max((int(path.name.removeprefix("step-")) for path in snapshots(run / CHECKPOINTS)), default=0)


def main(config: Config) -> None:
    console, lots = Console(), random.Random(config.seed)
    prepare(RUNS)
    asked = settings(config, config.seed, "disturbed")
    log = soak(asked, config, lots, console)
    snapshot = load_newest(asked.out / CHECKPOINTS, console.print)
    tests = snapshot.facts["progress"]["tests"]
    result = Result(
        minutes=config.minutes,
        killed=dict(log.killed),
        frozen=dict(log.frozen),
        restarts=log.restarts,
        audit=audit(asked.out / "books", snapshot),
        tests=len(tests),
        whole_routes=sum(test["finished"] for test in tests),
        curve_m=curve(asked.out),
    )
    if config.compare:
        result = compare(config, result, console)
        write_whole(RESULT, msgspec.json.format(msgspec.json.encode(result)))
    console.print(result)
    if config.json:
        print(json.dumps(msgspec.to_builtins(result)))  # noqa: T201


def compare(config: Config, result: Result, console: Console) -> Result:
    """The result beside runs that nothing happens to; the first goes on for long enough to see a leak."""
    held = [undisturbed(config, seed, LEAK_MINUTES if seed == 0 else 0.0, console) for seed in range(SEEDS)]
    grown = {name: round(growth(samples), 4) for name, samples in held[0].items()}
    curves = [curve(settings(config, seed, f"undisturbed-{seed}").out) for seed in range(SEEDS)]
    return msgspec.structs.replace(result, rss_growth=grown, undisturbed_m=curves)


if __name__ == "__main__":
    sys.exit(called(main, Config))
