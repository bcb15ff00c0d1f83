"""What the trials of a sweep have come to: states, a table, and pictures of what each varied setting does."""

import csv
import io
from collections import defaultdict
from pathlib import Path

from rich.table import Table

from agent.launchers.attempt import LOG, read_ended
from agent.results.evaluate import cell
from agent.results.metrics import Evaluation, read_evaluations
from agent.results.plot import Curve, curve_of, picture, png
from agent.sweep.trials import Trial
from agent.sync.config import SyncConfig
from perception.files import write_whole

Row = dict[str, str | float]


def finished(trial: Trial, folder: Path) -> bool:
    """True when the trial came to its end; driving comes to one also without success, which exits with 1."""
    ended = read_ended(folder)
    if ended is None or ended.exit_code not in (0, 1) or isinstance(trial.config, SyncConfig):
        return ended is not None and ended.exit_code == 0
    tests = sum(row["kind"] == "test" for row in _rows(folder / "episodes.csv"))
    return ended.exit_code == 0 or tests >= trial.config.max_episodes


def failure(folder: Path) -> str:
    """The last that a trial said."""
    log = folder / LOG
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "said nothing")


def results(out: Path, trials: list[Trial]) -> list[Row]:
    """A row per trial: name, the grid's settings, seed, whether it finished, and if so what it came to."""
    rows: list[Row] = []
    for trial in trials:
        folder = out / trial.name
        done = finished(trial, folder)
        row: Row = {**trial.settings, "seed": trial.config.seed, "state": "finished" if done else "failed"}
        rows.append({"run": trial.name, **row, **(_result(trial, folder) if done else {})})
    return rows


def _result(trial: Trial, folder: Path) -> Row:
    """Where it ended: the last and the best evaluation, or what it took to drive the route. Seconds are of training."""
    ended = read_ended(folder)
    assert ended is not None
    if isinstance(trial.config, SyncConfig):
        evaluations = read_evaluations(folder / "evaluations.csv")
        last, best = evaluations[-1], max(evaluation.mean for evaluation in evaluations)
        return {"steps": last.step, "final": last.mean, "best": best, "seconds": last.seconds}
    driven = [float(row["distance_m"]) for row in _rows(folder / "episodes.csv") if row["kind"] == "train"]
    solved = "yes" if ended.exit_code == 0 else "no"
    return {"solved": solved, "episodes": len(driven), "metres": sum(driven), "seconds": ended.seconds}


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def write_table(file: Path, rows: list[Row]) -> None:
    """Write the rows as CSV, whole; a cell is empty where a row has no such figure."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _columns(rows))
    writer.writeheader()
    writer.writerows(rows)
    write_whole(file, text.getvalue().encode())


def table(rows: list[Row]) -> Table:
    """The rows for a terminal; the settings and the seed say which run it is."""
    columns = [name for name in _columns(rows) if name != "run"]
    shown = Table(*columns)
    for row in rows:
        shown.add_row(*(cell(row.get(name)) for name in columns), style="red" if row["state"] == "failed" else None)
    return shown


def _columns(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def plots(out: Path, trials: list[Trial]) -> list[Path]:
    """Write SETTING.png per setting that varies, else seeds.png, from the finished trials that have evaluations.

    Each has a curve per value over the seeds, with their interval, and a panel per combination of the other settings.
    """
    evaluated = {
        trial.name: read_evaluations(file)
        for trial in trials
        if (file := out / trial.name / "evaluations.csv").exists() and finished(trial, out / trial.name)
    }
    drawn = [trial for trial in trials if trial.name in evaluated]
    varied = [key for key in trials[0].settings if len({trial.settings[key] for trial in trials}) > 1]
    files = {key: out / f"{key}.png" for key in varied or ["seeds"]} if drawn else {}
    for key, file in files.items():
        write_whole(file, png(picture(_panels(key, [other for other in varied if other != key], drawn, evaluated))))
    return list(files.values())


def _panels(
    key: str, others: list[str], trials: list[Trial], evaluated: dict[str, list[Evaluation]]
) -> dict[str, list[Curve]]:
    """The curves by title of their panel."""
    seeds: dict[str, dict[str, list[list[Evaluation]]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        title = ", ".join([trial.config.env, *(f"{other}={trial.settings[other]}" for other in others)])
        label = f"{key}={trial.settings[key]}" if key in trial.settings else trial.config.algo.upper()
        seeds[title][label].append(evaluated[trial.name])
    return {title: [curve_of(*curve) for curve in curves.items()] for title, curves in seeds.items()}
