"""`lapwing act`: actors on another machine than the learner's, which find it by its address and are known by their key.

Of the run's folder they need config.json, facts.json and vae.onnx, which `lapwing train` writes before it begins.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console

from agent.actors.orders import FACTS, GRAPH, Orders, line_to_learner, run_driver
from agent.checkpoint import PolicyFacts
from agent.line.channel import ActorEnd
from agent.line.rendezvous import tcp_addresses
from agent.settings import CONFIG, Count, SettingsError, Whole, checked, read_config
from agent.training.config import TrainConfig
from agent.training.supervisor import Job, Link, Supervisor
from deploy.keys import ClientKeys

QUIET_S = 5.0  # that an actor hears nothing of the learner until it says so


class RunError(ValueError):
    """The copy of a run's folder lacks something, or holds what cannot be read."""

    exit_code = 2


@dataclass(frozen=True)
class ActConfig:
    """Drive for a learner on another machine."""

    learner: str  # what `lapwing train` was given as --listen, with its host as this machine knows it
    run: Path = Path("runs/demo/train")  # a copy of the run's folder: config.json, facts.json, vae.onnx
    keys: Path | None = None  # folder clients/NAME, as `lapwing keys` writes it
    actors: Count = 1  # processes that drive
    first: Whole | None = None  # number of the first one, each to be had once in a run; None = next after the learner's


def act(config: ActConfig, console: Console) -> None:
    """Have actors drive until the learner says that training is over, which they look for until then.

    Raises SettingsError, RunError, KeysError or AddressError before any of them is started.
    """
    checked(config)
    orders = _orders(config)
    first = orders.config.actors if config.first is None else config.first
    if first < orders.config.actors:
        raise SettingsError(
            f"first is {first}; expected at least {orders.config.actors}, as the learner has actors of its own"
        )
    numbers = range(first, first + config.actors)
    jobs = [Job(f"actor {number}", drive_afar, (orders, number)) for number in numbers]
    with Supervisor(jobs, console.print) as supervisor:
        for line in supervisor.events():
            console.print(line)
    console.print("training is over")


def _orders(config: ActConfig) -> Orders:
    try:
        settings = read_config(config.run / CONFIG, TrainConfig)
        facts = msgspec.json.decode((config.run / FACTS).read_bytes(), type=PolicyFacts)
        graph = (config.run / GRAPH).read_bytes()
    except (FileNotFoundError, msgspec.MsgspecError) as error:
        raise RunError(
            f"{config.run}: {error}; expected {CONFIG}, {FACTS} and {GRAPH} as `lapwing train` writes them"
        ) from error
    keys = ClientKeys.load(config.keys) if config.keys else None
    return Orders(settings, facts, graph, tcp_addresses(config.learner), keys)


def drive_afar(link: Link, life: int, orders: Orders, number: int) -> None:
    """Be an actor's process, and say when it begins and ceases to hear of the learner."""
    with line_to_learner(orders, number) as line:
        run_driver(orders.config, orders.facts, orders.graph, line, life, Notice(link, line))


class Notice:
    """A heartbeat that says so when its actor begins or ceases to hear of the learner; to be called often."""

    def __init__(self, link: Link, line: ActorEnd) -> None:
        self._link, self._line = link, line
        self._since_s = time.monotonic()
        self._hears: bool | None = None  # None = that is not known yet

    def __call__(self) -> None:
        """Raises Orphaned as `Link.beat` does."""
        self._link.beat()
        heard_at_s = self._line.heard_at_s
        quiet = time.monotonic() - (heard_at_s or self._since_s) > QUIET_S
        if quiet and self._hears is not False:
            self._hears = False
            self._link.tell(
                f"actor {self._line.actor} hears nothing of the learner; "
                "it goes on trying: is the learner there, and does it know this key?"
            )
        elif heard_at_s and not quiet and self._hears is not True:
            self._hears = True
            self._link.tell(f"actor {self._line.actor} hears the learner")
