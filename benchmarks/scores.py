"""What the algorithms come to on public tasks, beside published scores.

    python -m benchmarks.scores --tasks Pendulum-v1 --algos ddpg td3 d4pg --seeds 5 [--json]
    python -m benchmarks.scores --list

Runs one after another in one process on one thread, at the lowest priority, so that it may go on in the background for
days. A broken-off call goes on where it was when it is made again: a run from its last checkpoint under runs/scores/, a
finished one not at all. Of a finished run, config.json and evaluations.csv stay in benchmarks/results/scores/, where
`lapwing plot` finds them. The score of a run is the mean return of its last evaluation, not of its best. At the end
docs/scores.md, between its marks, and docs/scores.png are written anew from all that has been finished.
"""

import itertools
import json
import os
import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.algorithms import ALGORITHMS
from agent.results.metrics import Evaluation, read_evaluations
from agent.results.plot import COLOURS, curve_of, draw, png
from agent.settings import SettingsError
from agent.update import Precision
from benchmarks.runs import called, finish, write_page
from benchmarks.tasks import TASKS, Published, settings
from perception.files import write_whole

RESULTS, RUNS, DOCS = Path("benchmarks/results/scores"), Path("runs/scores"), Path("docs")


@dataclass(frozen=True)
class Config:
    """Run algorithm × task × seeds, then show our scores beside published ones."""

    tasks: tuple[str, ...] = ("Pendulum-v1",)  # names out of --list
    algos: tuple[str, ...] = tuple(ALGORITHMS)
    seeds: int = 5  # 0, 1, …
    precision: Precision = "float32"  # of matrix products; bfloat16 is faster where the processor has it
    compiled: bool | None = None  # learn by one compiled graph; None = in long runs
    json: bool = False  # print one JSON object as the last line
    list: bool = False  # only list the tasks
    show: bool = False  # only show what has been finished, and write the docs


class Group(NamedTuple):
    """Runs that differ in their seed alone."""

    task: str
    algo: str
    precision: Precision

    @property
    def name(self) -> str:
        return "-".join(self)

    @property
    def runs(self) -> list[Path]:
        """Folders of the finished ones."""
        return sorted(RESULTS.glob(f"{self.name}-[0-9]*"))

    @property
    def evaluations(self) -> list[list[Evaluation]]:
        """Those of every finished run."""
        return [read_evaluations(run / "evaluations.csv") for run in self.runs]

    @property
    def published(self) -> Published | None:
        return TASKS[self.task].published.get(self.algo)

    @property
    def label(self) -> str:
        """The algorithm, and the precision if it is not the usual one."""
        return self.algo.upper() + (" in bfloat16" if self.precision == "bfloat16" else "")


def groups(tasks: tuple[str, ...], algos: tuple[str, ...]) -> list[Group]:
    """All that have a finished run, tasks first."""
    every = itertools.starmap(Group, itertools.product(tasks, algos, get_args(Precision)))
    return [group for group in every if group.runs]


def run(group: Group, seed: int, console: Console, compiled: bool | None = None) -> None:
    """Train one run to its end, from where it was; nothing if it is finished."""
    config = replace(settings(TASKS[group.task], group.algo), precision=group.precision, compiled=compiled)
    name = f"{group.name}-{seed}"
    finish(replace(config, seed=seed, out=RUNS / name), RESULTS / name, console)


def scores(group: Group) -> np.ndarray:
    """Mean return and its spread over episodes in the last evaluation of each finished run, (seeds, 2)."""
    finals = [evaluations[-1] for evaluations in group.evaluations]
    return np.array([(final.mean, final.std) for final in finals]).reshape(-1, 2)


def summarise(ours: np.ndarray, theirs: Published | None) -> dict[str, Any]:
    """Our scores (seeds, 2) in figures, and how they compare."""
    mean = float(ours[:, 0].mean())
    return {
        "seeds": len(ours),
        "mean": mean,
        "seed_std": float(ours[:, 0].std(ddof=1)) if len(ours) > 1 else None,
        "episode_std": float(np.sqrt((ours[:, 1] ** 2).mean())),
        "verdict": theirs.verdict(mean) if theirs else "nothing published",
    }


HEADER = ("task", "steps", "algorithm", "seeds", "ours", "± seeds", "± episodes", "published", "", "source")


def cells(group: Group) -> list[str]:
    """A row of the table."""
    row, theirs = summarise(scores(group), group.published), group.published
    figures = [f"{row[key]:,.1f}" if row[key] is not None else "–" for key in ("mean", "seed_std", "episode_std")]
    said = [str(theirs), row["verdict"], theirs.source] if theirs else ["–", "", ""]
    return [group.task, f"{TASKS[group.task].steps:,}", group.label, str(row["seeds"]), *figures, *said]


def show(config: Config, console: Console) -> dict[str, Any]:
    """Print what has been finished of the chosen tasks and algorithms beside the published scores; return it."""
    found = groups(config.tasks, config.algos)
    table = Table(*HEADER)
    for group in found:
        table.add_row(*cells(group))
    console.print(table)
    return {group.name: summarise(scores(group), group.published) for group in found}


def write_docs(console: Console) -> None:
    """Write the table and the curves of all that has been finished into the docs."""
    found = groups(tuple(TASKS), tuple(ALGORITHMS))
    lines = [f"| {' | '.join(HEADER)} |", "|---|--:|---|" + "--:|" * 5 + "---|---|"]
    lines += [f"| {' | '.join(cells(group))} |" for group in found]
    write_whole(DOCS / "scores.png", picture(found))
    write_page(DOCS / "scores.md", "benchmarks.scores", "\n".join(lines))
    console.print(f"wrote {DOCS / 'scores.md'} and {DOCS / 'scores.png'}")


def picture(found: list[Group]) -> bytes:
    """A PNG with a panel per task: our curves, and dashed what others reached."""
    tasks: dict[str, list[Group]] = defaultdict(list)
    for group in found:
        tasks[group.task].append(group)
    columns = min(len(tasks), 2)
    rows = -(-len(tasks) // 2)
    figure = Figure(figsize=(7.5 * columns, 4.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (task, of_task) in zip(panels, tasks.items(), strict=False):
        draw_task(panel, task, of_task)
    for unused in panels[len(tasks) :]:
        unused.set_axis_off()
    return png(figure, dpi=90)


def draw_task(panel: Axes, task: str, found: list[Group]) -> None:
    """Draw the curves of a task, with a line where each published score is."""
    draw(panel, task, [curve_of(group.label, group.evaluations) for group in found])
    for group, colour in zip(found, COLOURS, strict=False):
        if group.published and (group.precision == "float32" or len(found) == 1):
            panel.axhline(group.published.mean, color=colour, linestyle="--", linewidth=1)


def list_tasks(console: Console) -> None:
    """Print every task with its environment, steps and what must be installed for it."""
    table = Table("task", "environment", "steps", "needs")
    for name, task in TASKS.items():
        table.add_row(name, task.env, f"{task.steps:,}", escape(task.needs))
    console.print(table)


def main(config: Config) -> None:
    """Run what is not finished, then show everything."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    unknown = [*(set(config.tasks) - set(TASKS)), *(set(config.algos) - set(ALGORITHMS))]
    if unknown:
        raise SettingsError(f"unknown: {', '.join(unknown)}; expected tasks out of --list and {', '.join(ALGORITHMS)}")
    if config.list:
        list_tasks(console)
        return
    if not config.show:
        os.nice(19)
        for seed, task, algo in itertools.product(range(config.seeds), config.tasks, config.algos):
            run(Group(task, algo, config.precision), seed, console, config.compiled)
    found = show(config, console)
    write_docs(console)
    if config.json:
        print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    sys.exit(called(main, Config))
