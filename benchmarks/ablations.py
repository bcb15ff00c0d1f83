"""What TD3's parts are worth: the field's ablations, one thing at a time, on Pendulum and on lane following.

    python -m benchmarks.ablations --tasks Pendulum-v1 lane --axes noise norm --seeds 3 [--json]
    python -m benchmarks.ablations --list

Runs one after another on one thread at the lowest priority, and goes on where a broken-off call was, as
benchmarks/scores.py does; what has been finished stays in benchmarks/results/ablations/. Each variant differs from the
base in one thing; the base is run once for all axes. A run has two figures: the return of its last evaluation, and the
mean of all its evaluations, which is the higher the sooner it learns. At the end docs/ablations.md, between its marks,
and docs/ablations.png are written anew from all that has been finished.
"""

import json
import math
import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from agent.algorithms.td3 import TD3Config
from agent.noise import OrnsteinUhlenbeckConfig
from agent.noise.parameter import ParameterNoiseConfig
from agent.results.metrics import read_evaluations
from agent.results.plot import Curve, curve_of, draw, png
from agent.sync.train import SyncConfig
from benchmarks.runs import called, finish, write_page
from perception.files import write_whole

RESULTS, RUNS, DOCS = Path("benchmarks/results/ablations"), Path("runs/ablations"), Path("docs")
SEEDS = 3
MEASURES = ("final", "curve")  # the last evaluation; the mean of all
STRENGTH = 0.1  # root mean square of every noise in action units; Fujimoto 2018


class AblationError(ValueError):
    """There is no such task or axis, or runs do not belong together."""

    exit_code = 2


@dataclass(frozen=True)
class Variant:
    """What differs from the base, in SyncConfig and in TD3Config, and which variant it is compared with."""

    run: dict[str, Any] = field(default_factory=dict)
    td3: dict[str, Any] = field(default_factory=dict)
    against: str = "base"


@dataclass(frozen=True)
class Axis:
    """One thing that is varied: its title, and a label for each of its variants."""

    title: str
    variants: dict[str, str]


OU = OrnsteinUhlenbeckConfig(
    theta=0.15,  # Lillicrap 2015
    sigma=STRENGTH * math.sqrt(2 * 0.15 - 0.15**2),  # so that it settles at that strength
    half_life=None,
)
PARAMETER = ParameterNoiseConfig(distance=STRENGTH, sigma=0.02)  # at which a new actor of 64 units is 0.12 off
VARIANTS = {
    "base": Variant(),
    "noise-none": Variant({"noise": "none"}),
    "noise-ou": Variant({"noise": "ou", "ou": OU}),
    "noise-parameter": Variant({"noise": "parameter", "parameter": PARAMETER}, {"actor_norm": "layer"}, "norm-actor"),
    "start-100": Variant({"start_steps": 100}),
    "start-3000": Variant({"start_steps": 3000}),
    "interval-2": Variant({"update_ratio": 1 / 2}),
    "interval-4": Variant({"update_ratio": 1 / 4}),
    "delay-1": Variant(td3={"delay": 1}),
    "delay-4": Variant(td3={"delay": 4}),
    "norm-actor": Variant(td3={"actor_norm": "layer"}),
    "norm-critic": Variant(td3={"critic_norm": "layer"}),
    "norm-both": Variant(td3={"actor_norm": "layer", "critic_norm": "layer"}),
    "smoothing-0": Variant(td3={"smoothing": 0.0}),
    "smoothing-0.5": Variant(td3={"smoothing": 0.5, "smoothing_clip": 1.25}),  # clipped at 2.5 deviations, as the base
}
AXES = {
    "noise": Axis(
        "noise",
        {
            "base": "Gaussian",
            "noise-none": "none",
            "noise-ou": "Ornstein-Uhlenbeck",
            "norm-actor": "Gaussian, normed actor",
            "noise-parameter": "parameter, normed actor",
        },
    ),
    "start": Axis("random starting steps", {"base": "1,000", "start-100": "100", "start-3000": "3,000"}),
    "interval": Axis("steps per update", {"base": "1", "interval-2": "2", "interval-4": "4"}),
    "delay": Axis("updates of the critics per one of the actor", {"base": "2", "delay-1": "1", "delay-4": "4"}),
    "norm": Axis(
        "LayerNorm", {"base": "none", "norm-actor": "actor", "norm-critic": "critics", "norm-both": "actor and critics"}
    ),
    "smoothing": Axis("target smoothing", {"base": "0.2", "smoothing-0": "0", "smoothing-0.5": "0.5"}),
}
PENDULUM = SyncConfig(
    env="Pendulum-v1",
    steps=10_000,
    evaluate_every=500,
    td3=TD3Config(batch_size=128, hidden=(64, 64), actor_lr=1e-3, critic_lr=1e-3),  # small and quick
)
LANE = SyncConfig(
    env="sim:LaneState-v0",  # another held-in road every episode
    steps=6000,
    episode_steps=300,  # 30 s; at top speed 83 m
    evaluate_every=250,
    evaluation_episodes=5,
    td3=TD3Config(batch_size=64, hidden=(64, 64)),
)
TASKS = {"Pendulum-v1": PENDULUM, "lane": LANE}


@dataclass(frozen=True)
class Config:
    """Run task × variant × seeds, then compare every variant with the base."""

    tasks: tuple[str, ...] = tuple(TASKS)  # names out of --list
    axes: tuple[str, ...] = tuple(AXES)  # names out of --list
    seeds: int = SEEDS  # 0, 1, …
    json: bool = False  # print one JSON object as the last line
    list: bool = False  # only list tasks and axes
    show: bool = False  # only show what has been finished, and write the docs


def settings(task: str, variant: str) -> SyncConfig:
    """The config of a variant's runs: the base's, but for what it changes."""
    base, changes = TASKS[task], VARIANTS[variant]
    return replace(base, **changes.run, td3=replace(base.td3, **changes.td3))


def chosen(axes: tuple[str, ...]) -> list[str]:
    """The variants on these axes, each once, with those that they are compared with."""
    on_axes = [variant for axis in axes for variant in AXES[axis].variants]
    return list(dict.fromkeys(name for variant in on_axes for name in (VARIANTS[variant].against, variant)))


def finished(task: str, variant: str) -> dict[int, Path]:
    """The folders of a variant's finished runs, by seed."""
    folders = RESULTS.glob(f"{task}-{variant}-[0-9]*/")
    return dict(sorted((int(folder.name.rsplit("-", 1)[1]), folder) for folder in folders))


def scores(task: str, variant: str) -> dict[int, tuple[float, float]]:
    """The MEASURES of each finished run, by seed."""
    means = {
        seed: [evaluation.mean for evaluation in read_evaluations(folder / "evaluations.csv")]
        for seed, folder in finished(task, variant).items()
    }
    return {seed: (mean[-1], sum(mean) / len(mean)) for seed, mean in means.items()}


def summarise(task: str, variant: str) -> dict[str, Any]:
    """A variant's figures: for each of MEASURES mean, std over the seeds, difference and half of its 95 % interval.

    Differences are taken seed by seed (Student's paired interval), for runs of the same seed have their first steps,
    their evaluations' starts and, where the networks are alike, their first weights in common.
    """
    against = VARIANTS[variant].against
    ours, theirs = scores(task, variant), scores(task, against)
    both = [seed for seed in ours if seed in theirs and variant != against]
    apart = np.array([np.subtract(ours[seed], theirs[seed]) for seed in both]).reshape(-1, len(MEASURES))
    row: dict[str, Any] = {"seeds": len(ours), "against": None if variant == against else against}
    for i, name in enumerate(MEASURES):
        mean, std, _ = interval(np.array([score[i] for score in ours.values()]))
        difference, _, half_width = interval(apart[:, i])
        row[name] = {"mean": mean, "std": std, "difference": difference, "half_width": half_width}
    return row


def interval(values: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """Mean, standard deviation and half width of the mean's 95 % interval of values (n,), as far as n allows."""
    if len(values) < 2:
        return (float(values[0]) if len(values) else None), None, None
    half_width = Curve("", np.zeros(1), values[:, None]).half_width[0]  # t·s/√n
    return float(values.mean()), float(values.std(ddof=1)), float(half_width)


def cells(row: dict[str, Any], strong: str) -> list[str]:
    """A row in words: seeds; of each measure mean ± std and difference ± half width, strong if that is clear of 0."""
    said = [str(row["seeds"])]
    for measure in (row[name] for name in MEASURES):
        apart = plus_minus(measure["difference"], measure["half_width"], "+")
        clear = measure["half_width"] is not None and abs(measure["difference"]) > measure["half_width"]
        apart = strong.format(apart) if clear else apart if row["against"] else "base"
        said += [plus_minus(measure["mean"], measure["std"]), apart]
    return said


def plus_minus(value: float | None, spread: float | None, sign: str = "") -> str:
    """A value with its spread, as far as there are any."""
    if value is None:
        return ""
    return f"{value:{sign}.1f}" if spread is None else f"{value:{sign}.1f} ± {spread:.1f}"


def rows(task: str, axes: tuple[str, ...], strong: str) -> list[list[str]]:
    """The table of a task: axis, label and `cells` of every variant."""
    return [
        [AXES[axis].title if not i else "", label, *cells(summarise(task, variant), strong)]
        for axis in axes
        for i, (variant, label) in enumerate(AXES[axis].variants.items())
    ]


HEADER = ("axis", "variant", "seeds", "last evaluation", "difference", "mean of all", "difference")


def show(config: Config, console: Console) -> dict[str, Any]:
    """Print what has been finished of the chosen tasks and axes; return it."""
    for task in config.tasks:
        table = Table(*HEADER, title=f"{task}: return, ± std over seeds; difference to the base, ± its 95 % interval")
        for row in rows(task, config.axes, "[bold]{}[/]"):
            table.add_row(*row)
        console.print(table)
    return {f"{task}/{variant}": summarise(task, variant) for task in config.tasks for variant in chosen(config.axes)}


def write_docs(console: Console) -> None:
    """Write tables and picture of all that has been finished. Raises PageError when the page has no marks."""
    write_page(DOCS / "ablations.md", "benchmarks.ablations", tables())
    write_whole(DOCS / "ablations.png", picture())
    console.print(f"wrote {DOCS / 'ablations.md'} and {DOCS / 'ablations.png'}")


def tables() -> str:
    """Markdown: how far the runs are, and the table of every task."""
    seeds = [len(finished(task, variant)) for task in TASKS for variant in VARIANTS]
    missing = sum(max(0, SEEDS - count) for count in seeds)
    todo = f" {missing} more are missing; `python -m benchmarks.ablations` goes on with them." if missing else ""
    lines = [f"{sum(seeds)} runs.{todo}"]
    for task in TASKS:
        lines += ["", f"### {task}", "", f"| {' | '.join(HEADER)} |", "|---" * 2 + "|--:" * 5 + "|"]
        lines += [f"| {' | '.join(row)} |" for row in rows(task, tuple(AXES), "**{}**")]
    return "\n".join(lines)


def picture() -> bytes:
    """A PNG with the curves of every axis, tasks one below the other."""
    columns = 3
    per_task = -(-len(AXES) // columns)
    figure = Figure(figsize=(17, 3.9 * per_task * len(TASKS)), layout="constrained")
    panels = figure.subplots(per_task * len(TASKS), columns, squeeze=False).reshape(len(TASKS), -1)
    for task, row in zip(TASKS, panels, strict=True):
        for panel, axis in zip(row, AXES.values(), strict=False):
            if found := curves(task, axis):
                draw(panel, f"{task}: {axis.title}", found, bands=False)  # those of three seeds would hide the curves
    return png(figure, dpi=90)


def curves(task: str, axis: Axis) -> list[Curve]:
    """The learning curves of those of the axis' variants that have finished runs."""
    found = []
    for variant, label in axis.variants.items():
        if runs := [read_evaluations(folder / "evaluations.csv") for folder in finished(task, variant).values()]:
            found.append(curve_of(label, runs))
    return found


def list_all(console: Console) -> None:
    """Print the tasks, and the axes with their variants, the base first."""
    tasks, axes = Table("task", "environment", "steps"), Table("axis", "varies", "variants")
    for name, task in TASKS.items():
        tasks.add_row(name, task.env, f"{task.steps:,}")
    for name, axis in AXES.items():
        axes.add_row(name, axis.title, "; ".join(axis.variants.values()))
    console.print(tasks, axes)


def check(config: Config) -> None:
    """Raise AblationError for names that there are not."""
    unknown = [name for name in config.tasks if name not in TASKS] + [name for name in config.axes if name not in AXES]
    if unknown:
        raise AblationError(
            f"unknown: {', '.join(unknown)}; expected tasks out of {', '.join(TASKS)}, axes out of {', '.join(AXES)}"
        )


def check_finished() -> None:
    """Raise AblationError for a finished run that the code would make otherwise now; what either lacks passes."""
    for task in TASKS:
        for variant in VARIANTS:
            now = json.loads(msgspec.json.encode(settings(task, variant), enc_hook=str))
            for folder in finished(task, variant).values():
                if not agree(json.loads((folder / "config.json").read_bytes()), now):
                    raise AblationError(f"{folder}: was made with other settings; expected {variant}'s; make it anew")


def agree(kept: Any, now: Any) -> bool:
    """True when a config that was resolved says the same as one that was not, where it tells TD3's runs apart."""
    if not isinstance(now, dict):
        return now is None or kept == now
    common = kept.keys() & now.keys() - {"seed", "out", "resume", "ddpg", "d4pg"}
    return all(agree(kept[name], now[name]) for name in common)


def run(config: Config, console: Console) -> None:
    """Make the runs that are not finished."""
    for seed in range(config.seeds):
        for task in config.tasks:
            for variant in chosen(config.axes):
                name = f"{task}-{variant}-{seed}"
                finish(replace(settings(task, variant), seed=seed, out=RUNS / name), RESULTS / name, console)


def main(config: Config) -> None:
    """Run what is not finished, then show everything."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    check(config)
    if config.list:
        list_all(console)
        return
    check_finished()
    if not config.show:
        os.nice(19)
        run(config, console)
    found = show(config, console)
    write_docs(console)
    if config.json:
        print(json.dumps(found))  # noqa: T201


def command(arguments: list[str] | None = None) -> int:
    """Do as the arguments say; returns the exit code."""
    return called(main, Config, arguments)


if __name__ == "__main__":
    sys.exit(command())
