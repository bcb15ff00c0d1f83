"""`lapwing report`: one self-contained HTML page with what a run has come to."""

import base64
import csv
import html
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console

from agent.checkpoint import CheckpointError, PolicyFacts, load_actor
from agent.results.evaluate import HEADINGS, PAPER, Row, cell, figures, make_road
from agent.results.plot import png
from deploy.log.entries import Entry, summarize
from deploy.log.reader import read_log
from perception.files import write_whole

BLUE, ORANGE, GREY = "#2266aa", "#dd7722", "#999999"


@dataclass(frozen=True)
class ReportConfig:
    """Gather the results of `lapwing demo` in one page."""

    run: Path = Path("runs/demo")  # folder with vae/, train/, table1.json and drive/


def report(config: ReportConfig, console: Console) -> Path:
    """Write report.html into the run's folder. Raises CheckpointError or LogError for what is missing."""
    run = config.run
    _, facts = load_actor(run / "train/actor.safetensors")
    episodes, rows = _read_episodes(run / "train/episodes.csv"), _read_table(run / "table1.json")
    entries = read_log(run / "drive/drive.mcap")
    sections = [
        ("The drive", _drive_section(run, entries)),
        ("The route", _embed(plot_route(entries, facts))),
        ("Learning curve", _embed(plot_learning(episodes, facts.length_m))),
        ("Table I", _table(rows)),
        ("What the VAE sees", _picture(run / "vae/reconstructions.png")),
        ("Round trip of a frame", _embed(plot_round_trips(entries))),
    ]
    body = "\n".join(f"<section><h2>{title}</h2>\n{content}</section>" for title, content in sections)
    path = run / "report.html"
    write_whole(path, PAGE.format(title=html.escape(f"Lapwing: {run.name}"), body=body).encode())
    console.print(f"wrote {path}")
    return path


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
img, video {{ max-width: 100% }}
table {{ border-collapse: collapse }} th, td {{ padding: .2rem .8rem; text-align: right }}
th:first-child, td:first-child {{ text-align: left }}
tr.paper {{ color: #777 }} thead {{ border-bottom: 1px solid #222 }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""


def plot_learning(episodes: list[dict[str, str]], length_m: float) -> Figure:
    """Metres driven in every training and test episode."""
    figure, axes = _figure("training episode", "metres without a disengagement")
    for kind, colour in (("train", GREY), ("test", BLUE)):
        metres = [float(row["distance_m"]) for row in episodes if row["kind"] == kind]
        axes.plot(range(1, len(metres) + 1), metres, "o-", color=colour, label=kind)
    axes.axhline(length_m, color=ORANGE, linestyle="--", label="whole route")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right")
    return figure


def plot_route(entries: list[Entry], facts: PolicyFacts) -> Figure:
    """The lane from above, and where the car drove."""
    env = make_road(facts, facts.road_seed)
    road = env.get_wrapper_attr("road")
    env.close()
    figure, axes = _figure("x [m]", "y [m]")
    for left_m in (-road.right_m, road.left_m):
        axes.plot(*road.offset_line(left_m).T, color=GREY, linewidth=1)
    places = [(entry.truth.x_m, entry.truth.y_m) for entry in entries if entry.truth]  # none of a real car
    driven = np.array(places).reshape(-1, 2)
    axes.plot(*driven.T, color=BLUE, linewidth=2, label="driven")
    axes.plot(*driven[:1].T, "o", color=BLUE)
    axes.set_aspect("equal")
    axes.legend()
    return figure


def plot_round_trips(entries: list[Entry]) -> Figure:
    """How long a frame took to the policy server and back as an action."""
    figure, axes = _figure("round trip [ms]", "control periods")
    axes.hist([e.round_trip_ms for e in entries if e.round_trip_ms is not None], bins=60, color=BLUE)
    axes.set_yscale("symlog", linthresh=1)  # from 0, for a drive without any answer
    return figure


def _figure(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _embed(figure: Figure) -> str:
    return _image(png(figure))


def _picture(path: Path) -> str:
    try:
        return _image(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _image(png: bytes) -> str:
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _drive_section(run: Path, entries: list[Entry]) -> str:
    summary = summarize(entries)
    ending = "the whole route" if summary.succeeded else summary.disengagement or "ended early"
    lines = [
        f"{summary.distance_m:.1f} m at {summary.mean_speed_mps * 3.6:.1f} km/h on average: {ending}.",
        f"Round trip {summary.round_trip_p50_ms or 0:.1f} ms median, {summary.round_trip_p99_ms or 0:.1f} ms p99; "
        f"{summary.missed_deadlines} of {summary.ticks} deadlines missed.",
    ]
    video = run / "drive/drive.mp4"
    film = '<video controls src="drive/drive.mp4"></video>' if video.exists() else ""
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines) + film


def _table(rows: list[Row]) -> str:
    lines = [_tr(HEADINGS, "th"), "</thead>", *(_tr(figures(row)) for row in rows)]
    lines += [_tr((f"paper: {name}", *theirs), style=' class="paper"') for name, *theirs in PAPER]
    note = (
        "Training comes on top of the random episodes; minutes are minutes of driving. "
        "Paper: Kendall et al. 2018, arXiv 1807.00412, a real car on a 250 m road."
    )
    return f"<table><thead>{''.join(lines)}</table><p>{note}</p>"


def _tr(values: tuple, kind: str = "td", style: str = "") -> str:
    cells = "".join(f"<{kind}>{html.escape(cell(value))}</{kind}>" for value in values)
    return f"<tr{style}>{cells}</tr>"


def _read_episodes(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _read_table(path: Path) -> list[Row]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Row])
    except (OSError, msgspec.DecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as a table of `lapwing evaluate` ({error})") from error
