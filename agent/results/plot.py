"""`lapwing plot RUN…`: learning curves of runs, the seeds of one group as mean and interval."""

import io
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from rich.console import Console
from rich.markup import escape

from agent.results.metrics import Evaluation, read_evaluations
from agent.settings import CONFIG
from perception.files import write_whole

COLOURS = ("#2266aa", "#dd7722", "#449966", "#aa4477", "#777777", "#886644", "#22aaaa")
NOT_COMPARED = {"seed", "out", "resume", "steps", "evaluate_every", "evaluation_episodes", "checkpoint_every"}
# 97.5 % quantile of Student's t for 1, 2, … degrees of freedom; beyond, the normal one is within 2 %
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
STUDENT += (2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)
NORMAL = 1.960


class PlotError(ValueError):
    """A folder is no run, or has nothing to draw yet."""

    exit_code = 2


@dataclass(frozen=True)
class PlotConfig:
    """Draw the learning curves of runs, those that differ in their seed alone as one curve."""

    runs: tyro.conf.Positional[tuple[Path, ...]]  # folders with config.json and evaluations.csv
    out: Path = Path("curves.png")  # file that the picture is written to


@dataclass(frozen=True)
class Curve:
    """Mean return of each seed at the steps at which all of them were evaluated."""

    label: str
    steps: Float[np.ndarray, " points"]
    returns: Float[np.ndarray, "seeds points"]

    @property
    def mean(self) -> Float[np.ndarray, " points"]:
        """Over the seeds."""
        return self.returns.mean(axis=0)

    @property
    def half_width(self) -> Float[np.ndarray, " points"]:
        """Of the 95 % confidence interval of the mean, t·s/√n; 0 for a single seed, of which there is none."""
        seeds = len(self.returns)
        if seeds == 1:
            return np.zeros(len(self.steps))
        quantile = STUDENT[seeds - 2] if seeds - 2 < len(STUDENT) else NORMAL
        return quantile * self.returns.std(axis=0, ddof=1) / np.sqrt(seeds)


def plot(config: PlotConfig, console: Console) -> Path:
    """Write a PNG with one panel per environment. Raises PlotError naming a folder that cannot be drawn."""
    write_whole(config.out, png(picture(gather(config.runs))))
    console.print(f"wrote {escape(str(config.out))}")
    return config.out


def picture(panels: dict[str, list[Curve]]) -> Figure:
    """The figure with a panel of curves under each title, three in a row."""
    figure = Figure(figsize=(7 * min(len(panels), 3), 4.5 * -(-len(panels) // 3)), layout="constrained")
    axes = figure.subplots(-(-len(panels) // 3), min(len(panels), 3), squeeze=False).ravel()
    for panel, (title, curves) in zip(axes, panels.items(), strict=False):
        draw(panel, title, curves)
    for unused in axes[len(panels) :]:
        unused.set_axis_off()
    return figure


def png(figure: Figure, dpi: int = 120) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def gather(runs: tuple[Path, ...]) -> dict[str, list[Curve]]:
    """The curves of each environment; runs whose configs differ in their seed alone make one curve."""
    if not runs:
        raise PlotError("no runs given; expected folders that `lapwing train --encoder none` wrote")
    seeds: dict[str, list[list[Evaluation]]] = defaultdict(list)
    for run in {run.resolve(): run for run in runs}.values():  # each once
        config, evaluations = _read(run)
        seeds[json.dumps(config)].append(evaluations)
    panels: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for group in seeds:
        panels[json.loads(group)["env"]].append(json.loads(group))
    return {
        env: [curve_of(_label(group, groups), seeds[json.dumps(group)]) for group in groups]
        for env, groups in sorted(panels.items())
    }


def _read(run: Path) -> tuple[dict[str, Any], list[Evaluation]]:
    """What distinguishes the run's group, with dots in the names of what is nested, and its evaluations."""
    try:
        config = json.loads((run / CONFIG).read_bytes())
        evaluations = read_evaluations(run / "evaluations.csv")
    except OSError as error:
        raise PlotError(f"{error.filename}: {error.strerror}; expected a run's folder") from error
    except ValueError as error:
        raise PlotError(f"{run}: not a run that can be drawn ({error})") from error
    if not isinstance(config, dict) or not isinstance(config.get("env"), str):
        raise PlotError(f"{run}: its config.json names no env; expected what `lapwing train --encoder none` wrote")
    if not evaluations:
        raise PlotError(f"{run}: no evaluation yet")
    return flat({name: value for name, value in config.items() if name not in NOT_COMPARED}), evaluations


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The config with dots in the names of what is nested."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def _label(group: dict[str, Any], groups: list[dict[str, Any]]) -> str:
    """The algorithm, and whatever it takes to tell the group from others of the same algorithm."""
    rivals = [other for other in groups if other.get("algo") == group.get("algo")]
    told = [name for name in group if any(other.get(name) != group[name] for other in rivals)]
    return " ".join([str(group.get("algo", "")).upper(), *(f"{name.split('.')[-1]}={group[name]}" for name in told)])


def curve_of(label: str, seeds: list[list[Evaluation]]) -> Curve:
    """The curve of runs that belong together, at the steps at which all of them were evaluated.

    Raises PlotError where there is no such step.
    """
    means = [{evaluation.step: evaluation.mean for evaluation in evaluations} for evaluations in seeds]
    steps = sorted(set.intersection(*(set(mean) for mean in means)))
    if not steps:
        raise PlotError(f"{label}: its seeds were never evaluated at the same step; expected runs that can be averaged")
    return Curve(label, np.array(steps, float), np.array([[mean[step] for step in steps] for mean in means]))


def draw(axes: Axes, env: str, curves: list[Curve], bands: bool = True) -> None:
    """Draw every curve: its mean, its seeds, thin, and the interval as a band, unless bands would hide the curves."""
    for curve, colour in zip(curves, COLOURS * len(curves), strict=False):
        seeds = len(curve.returns)
        label = f"{curve.label} ({seeds} seed{'s' if seeds > 1 else ''})"
        axes.plot(curve.steps, curve.returns.T, color=colour, linewidth=0.6, alpha=0.35)
        axes.plot(curve.steps, curve.mean, color=colour, linewidth=2, label=label)
    axes.set_ylim(axes.get_ylim())  # an interval of two seeds may be wide; the curves set the scale
    for curve, colour in zip(curves if bands else [], COLOURS * len(curves), strict=False):
        low, high = curve.mean - curve.half_width, curve.mean + curve.half_width
        axes.fill_between(curve.steps, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_title(env)
    axes.set_xlabel("steps")
    axes.set_ylabel("return without noise")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", frameon=False)
