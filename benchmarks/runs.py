"""Runs that are made once and kept, one after another, for benchmarks that go on where they were broken off."""

import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from agent.snapshot import snapshots
from agent.sync.train import SyncConfig, train_sync
from perception.episodes import RecordConfig, record
from perception.files import write_whole
from perception.pretrain import PretrainConfig, pretrain


def finish(config: SyncConfig, kept: Path, console: Console) -> None:
    """Train a run to its end, from its last checkpoint in `config.folder`; nothing if it has been kept.

    Its config.json and evaluations.csv are kept, where `lapwing plot` finds them.
    """
    if kept.exists():
        return
    console.print(f"[bold]{kept.name}[/]")
    out = config.folder
    begun = bool(snapshots(out / "checkpoints"))
    if not begun:
        shutil.rmtree(out, ignore_errors=True)  # it was broken off before it could be saved
    train_sync(replace(config, resume=begun), console)
    part = kept.with_name(f".{kept.name}.part")  # which no pattern of runs finds
    part.mkdir(parents=True, exist_ok=True)
    for file in ("config.json", "evaluations.csv"):
        shutil.copyfile(out / file, part / file)
    part.rename(kept)


def called(main: Callable[[Any], None], config: type, arguments: list[str] | None = None) -> int:
    """Run a benchmark's `main` as its command line says; returns the exit code, 2 with one line where that is wrong."""
    try:
        main(tyro.cli(config, args=arguments))
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def prepare(runs: Path) -> tuple[Path, Path, float]:
    """Random episodes and weights of a VAE pretrained on them, as `lapwing demo` makes them, and the minutes it took.

    They stand in that folder and are made once.
    """
    episodes, vae, took = runs / "episodes", runs / "vae", runs / "prepared.json"
    if not took.exists():
        began = time.perf_counter()
        record(RecordConfig(out=episodes))
        pretrain(PretrainConfig(dataset=episodes, out=vae))
        write_whole(took, json.dumps((time.perf_counter() - began) / 60).encode())
    return episodes, vae / "vae.safetensors", float(json.loads(took.read_bytes()))


class PageError(ValueError):
    """A page of the docs has no place for what a benchmark writes."""

    exit_code = 2


def write_page(page: Path, benchmark: str, text: str) -> None:
    """Put text between the two marks of a benchmark in a page; what stands around them is written by hand.

    Raises PageError when the first mark is not there once, or no end after it; a page that is not there is begun.
    """
    begin, end = f"<!-- written by python -m {benchmark} -->\n", "<!-- until here -->\n"
    before = page.read_text() if page.exists() else begin + end
    head, *rest = before.split(begin)
    if len(rest) != 1 or end not in rest[0]:
        raise PageError(f"{page}: expected the line {begin.strip()} once, and {end.strip()} after it")
    write_whole(page, f"{head}{begin}\n{text}\n\n{end}{rest[0].split(end, 1)[1]}".encode())


def markdown(shown: Table) -> str:
    """The same table for a page of the docs."""
    columns = [[str(cell) for cell in column.cells] for column in shown.columns]
    heads = [str(column.header) for column in shown.columns]
    lines = [" | ".join(heads), " | ".join("---" for _ in heads), *map(" | ".join, zip(*columns, strict=True))]
    return "\n".join(f"| {line} |" for line in lines)
