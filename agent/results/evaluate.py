"""`lapwing evaluate`: the paper's Table I for a run: random, zero and learned policy on the route."""

import csv
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gymnasium
import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from agent.checkpoint import CheckpointError, PolicyFacts, load_actor
from agent.latent import LatentState
from agent.noise import greedy
from agent.settings import Whole, checked
from perception.files import write_whole
from perception.sight import Sight, load_sight

Policy = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class EvaluateConfig:
    """Drive the route with the random, the zero and the learned policy: the paper's Table I for this run."""

    run: Path = Path("runs/demo/train")  # folder that `lapwing train` wrote
    out: Path = Path("runs/demo/table1.json")  # file that the table is written to
    seed: int = 0  # of the random policy
    held_out: Whole = 0  # roads that no training saw, for the learned policy to drive too


class Training(msgspec.Struct, frozen=True):
    """What a policy was trained with."""

    episodes: int | None = None
    distance_m: float | None = None
    driving_min: float | None = None


UNTRAINED = Training()


class Row(msgspec.Struct, frozen=True):
    """One line of Table I."""

    policy: str
    distance_m: float
    disengagements: int
    mean_speed_mps: float
    training: Training = UNTRAINED
    steering_change: float | None = None  # mean |Δ steering| from one control period to the next, 1 = full lock

    @property
    def meters_per_disengagement(self) -> float | None:
        """The headline figure; None when the safety driver never took over."""
        return self.distance_m / self.disengagements if self.disengagements else None


HEADINGS = ("", "episodes", "metres", "minutes", "m / disengagement", "disengagements", "|Δ steering|")

# Kendall 2018, Table I: a real car on a 250 m road; their metres per disengagement are of a longer drive than one lap.
PAPER = (
    ("Random policy", None, None, None, 7.35, 34, None),
    ("Zero policy", None, None, None, 22.7, 11, None),
    ("DDPG, pixels", 35, 298.8, 37, 143.2, 1, None),
    ("DDPG, VAE", 11, 195.5, 15, None, 0, None),
)


def evaluate(config: EvaluateConfig, console: Console) -> list[Row]:
    """Drive all three policies over the route, print Table I and write it to `config.out`."""
    checked(config)
    torch.set_num_threads(1)
    actor, facts = load_actor(config.run / "actor.safetensors")
    encoder = load_sight(facts.sight(config.run))
    route = road_of(facts, encoder, facts.road_seed)
    learned = partial(greedy, actor)
    training = read_training(config.run / "episodes.csv", facts.period_s)
    rows = [
        *(drive_route(route, name, policy) for name, policy in baselines(facts.action_size, config.seed).items()),
        drive_route(route, f"{facts.algo.upper()}, {facts.sees_by}", learned, training),
    ]
    held_out = route.get_wrapper_attr("held_out")[: config.held_out] if config.held_out else ()
    route.close()
    if held_out:
        rows.append(drive_roads(facts, encoder, held_out, f"the same, {len(held_out)} new roads", learned))
    console.print(table1(rows))
    write_whole(config.out, msgspec.json.format(msgspec.json.encode(rows)))
    return rows


def baselines(size: int, seed: int) -> dict[str, Policy]:
    """Policies that have learned nothing, for actions of that size."""
    rng = np.random.default_rng(seed)
    return {
        "Random policy": lambda obs: rng.uniform(-1, 1, size).astype(np.float32),
        "Zero policy": lambda obs: np.zeros(size, np.float32),
    }


def make_road(facts: PolicyFacts, seed: int) -> gymnasium.Env:
    """One road of the kind that a policy was trained for."""
    return gymnasium.make(facts.env, scenario=facts.scenario, road_seed=seed, length_m=facts.length_m)


def road_of(facts: PolicyFacts, encoder: Sight, seed: int) -> LatentState:
    """The same as the policy sees it."""
    return LatentState(make_road(facts, seed), encoder)


def drive_roads(facts: PolicyFacts, encoder: Sight, seeds: Sequence[int], name: str, policy: Policy) -> Row:
    """Drive each of these roads once, as `drive_route` does; one line for all of them."""
    rows = []
    for seed in seeds:
        with closing(road_of(facts, encoder, seed)) as road:
            rows.append(drive_route(road, name, policy, seed=seed))
    distance_m = sum(row.distance_m for row in rows)
    seconds = sum(row.distance_m / row.mean_speed_mps for row in rows if row.distance_m > 0)
    change = float(np.mean([row.steering_change for row in rows]))
    disengagements = sum(row.disengagements for row in rows)
    return Row(name, distance_m, disengagements, distance_m / max(seconds, 1e-9), steering_change=change)


def drive_route(env: gymnasium.Env, name: str, policy: Policy, training: Training = UNTRAINED, seed: int = 0) -> Row:
    """Drive the whole route once; after a disengagement the car is put back in the lane where it left it.

    A car that has not come to the end after three times the route's time limit is taken off the road.
    """
    obs, info = env.reset(seed=seed)
    disengagements, steps, attempts, over = 0, 0, 0, False
    steering, changes = 0.0, list[float]()
    while not over:
        obs, _, terminated, truncated, info = env.step(policy(obs))
        steps += 1
        changes.append(abs(float(info["executed"][0]) - steering))
        steering = float(info["executed"][0])
        disengagements, attempts = disengagements + terminated, attempts + truncated
        over = info["finished"] or attempts == 3
        if terminated and not over:
            obs, info = env.reset(options={"distance_m": info["distance_m"]})
            steering = 0.0
    seconds = steps / env.metadata["render_fps"]
    distance = float(info["distance_m"])
    return Row(name, distance, disengagements, distance / seconds, training, float(np.mean(changes)))


def read_training(path: Path, period_s: float) -> Training:
    """Episodes, metres and minutes of driving of the whole training, tests not counted, from `episodes.csv`."""
    try:
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["kind"] == "train"]
        return Training(
            episodes=len(rows),
            distance_m=sum(float(row["distance_m"]) for row in rows),
            driving_min=sum(int(row["steps"]) for row in rows) * period_s / 60,
        )
    except (OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as the episodes of a training run ({error})") from error


def figures(row: Row) -> tuple[str | float | None, ...]:
    """The cells of a line, in the order of HEADINGS."""
    trained = row.training
    learning = (trained.episodes, trained.distance_m, trained.driving_min)
    return (row.policy, *learning, row.meters_per_disengagement, row.disengagements, row.steering_change)


def table1(rows: list[Row]) -> Table:
    """This run beside the paper, for a terminal."""
    table = Table(title="Table I", caption="on top of the random episodes; minutes of driving. Paper: a real car")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if not heading else "right")
    for row in rows:
        table.add_row(*map(cell, figures(row)))
    table.add_section()
    for name, *theirs in PAPER:
        table.add_row(f"paper: {name}", *map(cell, theirs), style="dim")
    return table


def cell(value: str | float | None) -> str:
    """A figure as it stands in the table."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.1f}" if value >= 1 else f"{value:.3f}"
    return str(value)
