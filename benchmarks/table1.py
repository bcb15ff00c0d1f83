"""The paper's Table I in our simulator: how much driving a policy needs until it drives 250 m, and how well it drives.

    python -m benchmarks.table1 [--json]              shows what has been made
    python -m benchmarks.table1 --full [--seeds 10]   makes what is missing; goes on where it was broken off

Fixed route: each seed has a road, networks and noise of its own; all have one VAE, pretrained on random episodes of
other roads. Learning is by turns (`lapwing train --sync`, 250 updates after each episode), so that a seed makes the
same run anywhere, and ends with the first test that drives the whole route. Country: a new road every episode,
asynchronously, and then held-out roads. Finished runs stand in benchmarks/results/table1/*.csv; docs/table1.md and
docs/table1.png are written anew from them.
"""

import csv
import io
import json
import os
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium
import msgspec
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console

from agent.checkpoint import load_actor
from agent.latent import LatentState
from agent.noise import greedy
from agent.results.evaluate import PAPER, Row, baselines, drive_roads, drive_route, read_training, road_of
from agent.results.plot import COLOURS, png
from agent.training.config import TrainConfig
from agent.training.online import OnlineConfig
from agent.training.ratio import Ratio
from agent.training.train import train
from benchmarks.runs import called, prepare, write_page
from perception.files import write_whole
from perception.probe import ProbeConfig, probe
from perception.sight import ONLINE, PIXELS, Pixels, load_sight

RESULTS, RUNS, DOCS = Path("benchmarks/results/table1"), Path("runs/table1"), Path("docs")
LEARNERS = {"pixels": "DDPG, pixels", "ddpg": "DDPG, VAE", "td3": "TD3, VAE", "d4pg": "D4PG, VAE"}
LEARNERS |= {"online": "DDPG, VAE learned online", "joint": "DDPG, VAE learned jointly"}
SEEING = {"pixels": PIXELS, "online": ONLINE, "joint": ONLINE}  # of DDPG that learns to see, too
PROBE = RESULTS / "probe.json"
NAMES = {row: name for name, row in LEARNERS.items()}
BASELINES = tuple(baselines(0, 0))
MAX_EPISODES = 35  # training episodes before a seed counts as failed; what the paper's DDPG needed from pixels
HELD_OUT = 100  # roads of 250 m on which country policies are judged
PASSES = (5, 20)  # tests in a row, each on another road, until a country policy counts as learned: soon, or surely


@dataclass(frozen=True)
class Config:
    """The paper's Table I."""

    json: bool = False  # print one JSON object as the last line
    full: bool = False  # make what is missing
    seeds: int = 10  # of the fixed route
    country_seeds: int = 5


@dataclass(frozen=True)
class Fixed:
    """What one seed came to on its road."""

    row: str
    seed: int
    succeeded: bool  # a test drove the whole route
    episodes: int  # training, until then
    metres: float
    minutes: float  # of driving
    wall_s: float  # of learning, after random episodes and pretraining
    disengagements: int  # of the policy on the whole route, put back after each
    distance_m: float
    steering_change: float  # mean |Δ steering| from one control period to the next, 1 = full lock


@dataclass(frozen=True)
class Country:
    """What one seed came to on roads that it had never seen."""

    seed: int
    passes: int  # tests in a row that were asked for
    learned: bool  # and were driven
    episodes: int
    wall_min: float  # random episodes, pretraining and learning
    disengagements: int
    distance_m: float
    steering_change: float


def probed(console: Console) -> None:
    """Keep what the latent knows on held-out roads."""
    _, encoder, _ = prepare(RUNS)
    found, *_ = probe(ProbeConfig(encoders=(encoder,), out=RUNS / "probe"), console)
    write_whole(PROBE, msgspec.json.format(msgspec.json.encode(found.r2)))


# -- the fixed route


def baseline(seed: int, row: str) -> Fixed:
    """Drive a seed's road without having learned anything."""
    env = gymnasium.make(TrainConfig().env, road_seed=seed, length_m=250.0)
    with closing(LatentState(env, Pixels())) as road:
        driven = drive_route(road, row, baselines(2, seed)[row])
    return _fixed(row, seed, False, driven, (0, 0.0, 0.0), 0.0)


def learn(seed: int, learner: str, console: Console) -> Fixed:
    """Learn a seed's road by turns, then drive it once by the best policy."""
    episodes, encoder, _ = prepare(RUNS)
    algo, encoder = ("ddpg", SEEING[learner]) if learner in SEEING else (learner, encoder)
    out = RUNS / f"{learner}-{seed}"
    asked: dict[str, Any] = {"algo": algo, "seed": seed, "road_seed": seed, "max_episodes": MAX_EPISODES}
    online = OnlineConfig(joint=learner == "joint")
    config = TrainConfig(out=out, encoder=encoder, online=online, episodes=episodes, sync=True, passes=1, **asked)
    began = time.perf_counter()
    progress = train(config, console)
    wall_s = time.perf_counter() - began
    actor, facts = load_actor(out / "actor.safetensors")
    with closing(road_of(facts, load_sight(encoder), seed)) as road:
        driven = drive_route(road, LEARNERS[learner], partial(greedy, actor))
    _keep_curve(out)
    trained = read_training(out / "episodes.csv", facts.period_s)
    learning = trained.episodes or 0, trained.distance_m or 0.0, trained.driving_min or 0.0
    return _fixed(LEARNERS[learner], seed, progress.solved, driven, learning, wall_s)


def _keep_curve(run: Path) -> None:
    """Keep how far each test of a run came."""
    with (run / "episodes.csv").open(newline="") as file:
        tests = [round(float(row["distance_m"]), 1) for row in csv.DictReader(file) if row["kind"] == "test"]
    write_whole(RESULTS / "curves" / f"{run.name}.json", json.dumps(tests).encode())


def _fixed(
    row: str, seed: int, succeeded: bool, driven: Row, learning: tuple[int, float, float], wall_s: float
) -> Fixed:
    episodes, metres, minutes = learning
    drove = driven.disengagements, round(driven.distance_m, 1), round(driven.steering_change or 0.0, 4)
    return Fixed(row, seed, succeeded, episodes, round(metres, 1), round(minutes, 2), round(wall_s, 1), *drove)


# -- country


def learn_country(seed: int, passes: int, console: Console) -> Country:
    """Learn on a new road every episode until many tests in a row are driven whole, then drive held-out roads."""
    episodes, encoder, prepared_min = prepare(RUNS)
    config = TrainConfig(
        out=RUNS / f"country-{passes}-{seed}",
        encoder=encoder,
        episodes=episodes,
        algo="td3",
        seed=seed,
        road_seed=seed,
        roads="held_in",
        passes=passes,
        max_episodes=300,
        restart_after=1000,
        envs_per_actor=8,
        ratio=Ratio(per_episode=0.0, per_step=0.2),
    )
    began = time.perf_counter()
    progress = train(config, console)
    wall_min = prepared_min + (time.perf_counter() - began) / 60
    actor, facts = load_actor(config.out / "actor.safetensors")
    vae = load_sight(encoder)
    with closing(road_of(facts, vae, seed)) as road:
        seeds = road.get_wrapper_attr("held_out")[:HELD_OUT]
    driven = drive_roads(facts, vae, seeds, "country", partial(greedy, actor))
    drove = driven.disengagements, round(driven.distance_m, 1), round(driven.steering_change or 0.0, 4)
    return Country(seed, passes, progress.solved, progress.trained, round(wall_min, 2), *drove)


# -- all of it


def kept(name: str, kind: type) -> list[Any]:
    """The finished runs of that name."""
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [msgspec.convert(row, kind, strict=False) for row in csv.DictReader(file)]


def keep(name: str, run: Any) -> None:
    """Add a finished run."""
    found = [asdict(one) for one in [*kept(name, type(run)), run]]
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(run)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    write_whole(RESULTS / f"{name}.csv", text.getvalue().encode())


def complete(config: Config, console: Console) -> None:
    """Make every run that is missing."""
    if not PROBE.exists():
        probed(console)
    made = {(run.row, run.seed) for run in kept("fixed", Fixed)}
    for seed, row in product(range(config.seeds), (*BASELINES, *LEARNERS.values())):
        if (row, seed) not in made:
            console.print(f"[bold]{row}, seed {seed}[/]")
            keep("fixed", baseline(seed, row) if row in BASELINES else learn(seed, NAMES[row], console))
    made_country = {(run.passes, run.seed) for run in kept("country", Country)}
    for passes, seed in product(PASSES, range(config.country_seeds)):
        if (passes, seed) not in made_country:
            console.print(f"[bold]country, seed {seed}, until {passes} tests in a row[/]")
            keep("country", learn_country(seed, passes, console))


def table(runs: list[Fixed], country: list[Country]) -> str:
    """Both settings, in Markdown."""
    lines = [
        "| fixed route of 250 m | seeds | succeeded | episodes: median (most) | metres | minutes | m per disengagement "
        "| mean abs. Δ steering |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in (*BASELINES, *LEARNERS.values()):
        if own := [run for run in runs if run.row == row]:
            lines.append(_line(row, own))
    for name, *learning, per_disengagement, _, _ in PAPER:
        told = ["1" if learning[0] else "", *("" if figure is None else f"{figure:g}" for figure in learning)]
        lines.append(f"| *paper: {name}* | 1 | {' | '.join(told)} | {per_disengagement or '–'} | |")
    if country:
        lines += ["", *_country(country)]
    return "\n".join(lines)


def _line(row: str, runs: list[Fixed]) -> str:
    learned = row in LEARNERS.values()
    counts = [run.episodes for run in runs]
    learning = [f"{sum(run.succeeded for run in runs)}", f"{median(counts):g} ({max(counts)})"]
    learning += [f"{median(run.metres for run in runs):.0f}", f"{median(run.minutes for run in runs):.1f}"]
    disengagements = sum(run.disengagements for run in runs)
    driven_m = sum(run.distance_m for run in runs)
    figure = f"{driven_m / disengagements:.1f}" if disengagements else f"none in {driven_m:.0f} m"
    change = f"{np.mean([run.steering_change for run in runs]):.3f}"
    return f"| {row} | {len(runs)} | {' | '.join(learning if learned else [''] * 4)} | {figure} | {change} |"


def _country(runs: list[Country]) -> list[str]:
    lines = [
        f"| country: {HELD_OUT} held-out roads of 250 m | tests in a row | learned | episodes | minutes, all of it "
        "| disengagements in 25 km | mean abs. Δ steering |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for run in runs:
        figures = f"{run.episodes} | {run.wall_min:.1f} | {per_25_km(run):.0f} | {run.steering_change:.3f}"
        lines.append(f"| TD3, VAE, seed {run.seed} | {run.passes} | {'yes' if run.learned else 'no'} | {figures} |")
    return lines


def per_25_km(run: Country) -> float:
    """Disengagements, if it had driven 25 km of such roads."""
    return 25_000 * run.disengagements / run.distance_m


def curves() -> Figure:
    """Metres of each test over the training episodes before it; thin lines are seeds."""
    figure = Figure(figsize=(15, 3.2), layout="constrained")
    panels = figure.subplots(1, len(LEARNERS), sharey=True)
    for axes, (name, row), colour in zip(panels, LEARNERS.items(), COLOURS, strict=False):
        for path in sorted((RESULTS / "curves").glob(f"{name}-*.json")):
            tests = json.loads(path.read_bytes())
            axes.plot(range(1, len(tests) + 1), tests, "o-", color=colour, alpha=0.5, markersize=3, linewidth=1)
        axes.axhline(250, color="black", linestyle="--", linewidth=0.8)
        axes.set_title(row)
        axes.set_xlabel("training episodes")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("metres of the test")
    return figure


def summary(runs: list[Fixed], country: list[Country]) -> dict[str, float | None]:
    """What --json prints; None where nothing has been made."""

    def episodes(row: str) -> list[float]:
        return [run.episodes if run.succeeded else float("inf") for run in runs if run.row == row]

    vae, pixels, online, joint = (episodes(LEARNERS[name]) for name in ("ddpg", "pixels", "online", "joint"))
    soon, surely = ([run for run in country if run.passes == passes] for passes in PASSES)
    r2 = json.loads(PROBE.read_bytes()) if PROBE.exists() else {}
    found: dict[str, float | None] = {
        "fixed_vae_episodes_median": median(vae) if vae else None,
        "fixed_vae_episodes_max": max(vae, default=None),
        "fixed_vae_succeeded": sum(run.succeeded for run in runs if run.row == "DDPG, VAE"),
        "fixed_pixels_episodes_median": median(pixels) if pixels else None,
        "fixed_pixels_succeeded": sum(run.succeeded for run in runs if run.row == "DDPG, pixels"),
        "fixed_online_episodes_median": median(online) if online else None,
        "fixed_joint_episodes_median": median(joint) if joint else None,
        "country_disengagements_per_25km": median(map(per_25_km, soon)) if soon else None,
        "country_minutes": median(run.wall_min for run in soon) if soon else None,
        "country_steering_change": median(run.steering_change for run in soon) if soon else None,
        "country_surely_disengagements_per_25km_max": max(map(per_25_km, surely), default=None),
        "country_surely_minutes_max": max((run.wall_min for run in surely), default=None),
    }
    labels = {"offset": "lateral_offset_m", "heading": "heading_error_rad", "curvature": "curvature_5m_1pm"}
    return found | {f"probe_r2_{name}": r2.get(label) for name, label in labels.items()}


def main(config: Config) -> None:
    """Show the table, and make it first if that is wanted."""
    console = Console()
    if config.full:
        complete(config, console)
    runs, country = kept("fixed", Fixed), kept("country", Country)
    if not runs:
        raise SystemExit(f"{RESULTS}: nothing has been made yet; make it with --full")
    text = table(runs, country)
    console.print(text, markup=False)
    if config.full:
        write_page(DOCS / "table1.md", "benchmarks.table1", text)
        write_whole(DOCS / "table1.png", png(curves()))
    if config.json:
        print(json.dumps(summary(runs, country)))  # noqa: T201


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.exit(called(main, Config))
