"""The curves of a training run, out of the tables in its folder; torch is not needed for it."""

import csv
from pathlib import Path
from typing import Any

import msgspec

POINTS = 1000  # of a curve; of a longer one every n-th is shown
TABLES = ("episodes.csv", "evaluations.csv")
Point = tuple[float, float]


class RunError(Exception):
    """A folder is not that of a training run."""

    exit_code = 2


class Curves:
    """Reads a run's tables again whenever they have changed."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._seen: list[int] | None = None  # when the tables were changed

    def changed(self) -> dict[str, Any] | None:
        """What the page draws, if it is other than the last time; `summary` says why there is nothing to draw."""
        seen = [path.stat().st_mtime_ns for name in TABLES if (path := self.run / name).exists()]
        if seen == self._seen:
            return None
        self._seen = seen
        try:
            return read_curves(self.run)
        except (OSError, ValueError, KeyError, RunError) as error:  # a table is damaged, or not ours
            return {"summary": f"{self.run} cannot be read: {error}"}


def read_curves(run: Path) -> dict[str, Any]:
    """Points of training and of tests with the names of their axes. Raises RunError where no run is."""
    episodes = _rows(run / "episodes.csv")
    if (run / "evaluations.csv").exists():
        return _returns(episodes, _rows(run / "evaluations.csv"))
    if not (run / "episodes.csv").exists():
        raise RunError(f"{run} is no folder of a training run: there is no episodes.csv")
    return _metres(episodes, _route_m(run))


def _metres(episodes: list[dict[str, str]], route_m: float | None) -> dict[str, Any]:
    """Of learning to drive: metres by the number of training episodes."""
    curves: dict[str, list[Point]] = {"train": [], "test": []}
    trained = 0
    for row in episodes:
        trained += row["kind"] == "train"
        curves[row["kind"]].append((trained, float(row["distance_m"])))
    best = max((metres for _, metres in curves["test"]), default=None)
    updates = int(episodes[-1]["updates"]) if episodes else 0
    summary = f"episodes: {trained}, updates: {updates:,}" + (f", best test: {best:.1f} m" if best is not None else "")
    axes = {"x_name": "training episodes", "y_name": "m without a disengagement", "goal": route_m}
    return {**_thinned(curves), **axes, "summary": summary}


def _returns(episodes: list[dict[str, str]], evaluations: list[dict[str, str]]) -> dict[str, Any]:
    """Of a Gymnasium environment: returns by steps."""
    curves = {
        "train": [(float(row["step"]), float(row["total"])) for row in episodes],
        "test": [(float(row["step"]), float(row["mean"])) for row in evaluations],
    }
    best = max((mean for _, mean in curves["test"]), default=None)
    summary = f"episodes: {len(episodes)}" + (f", best evaluation: {best:.1f}" if best is not None else "")
    return {**_thinned(curves), "x_name": "steps", "y_name": "return", "goal": None, "summary": summary}


def _thinned(curves: dict[str, list[Point]]) -> dict[str, list[Point]]:
    return {name: points[:: -(-len(points) // POINTS) or 1] for name, points in curves.items()}


def _route_m(run: Path) -> float | None:
    """How long the route is that was learned, if it was always the same."""
    if not (run / "config.json").exists():
        return None
    config = msgspec.json.decode((run / "config.json").read_bytes())
    return config.get("length_m") if config.get("roads", "fixed") == "fixed" else None


def _rows(table: Path) -> list[dict[str, str]]:
    """The whole rows of a table; none where there is no table."""
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return [row for row in csv.DictReader(file) if None not in row.values()]
