"""`lapwing dataset`: look at a dataset, check it, bring it to and from other formats."""

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console

from perception.dataset import Dataset
from perception.donkeycar import Frames, import_tub
from perception.recorder import Recorder
from perception.shards import LABELS

Folder = tyro.conf.Positional[Path]


@dataclass(frozen=True)
class InfoConfig:
    """Tell what a dataset holds."""

    folder: Folder = Path("runs/demo/episodes")  # of the dataset


@dataclass(frozen=True)
class CheckConfig:
    """Read every frame; say what is damaged, and exit with 1 if anything is."""

    folder: Folder = Path("runs/demo/episodes")  # of the dataset


@dataclass(frozen=True)
class ExportConfig:
    """Write a dataset in Minari's format."""

    folder: Folder = Path("runs/demo/episodes")  # of the dataset
    out: Path = Path("runs/demo/minari")  # folder of Minari's datasets, its MINARI_DATASETS_PATH
    name: str = "lapwing-v0"  # of the dataset there, with its version
    strict: bool = False  # what is damaged is an error; else it is left out with a warning


@dataclass(frozen=True)
class ImportConfig:
    """Add a donkeycar tub to a dataset, which is made if there is none."""

    tub: Folder = Path("data")  # folder with manifest.json
    out: Path = Path("runs/demo/tub")  # folder of the dataset
    frames: Frames = field(default_factory=Frames)
    max_steering_rad: float = math.radians(25)  # of the front wheels at angle ±1; that of sim/vehicles/donkey.py
    strict: bool = False  # a picture that cannot be read is an error; else it is left out with a warning


DatasetCommand = (
    Annotated[InfoConfig, tyro.conf.subcommand("info")]
    | Annotated[CheckConfig, tyro.conf.subcommand("check")]
    | Annotated[ExportConfig, tyro.conf.subcommand("export")]
    | Annotated[ImportConfig, tyro.conf.subcommand("import")]
)


def run(command: InfoConfig | CheckConfig | ExportConfig | ImportConfig, console: Console) -> int:
    """Do it; returns the exit code. Raises DatasetError for what cannot be read or written."""
    match command:
        case InfoConfig(folder):
            tell(Dataset(folder), console)
        case CheckConfig(folder):
            return check(Dataset(folder), console)
        case ExportConfig(folder, out, name, strict):
            from perception.minari_export import export_to_minari

            written, lone = export_to_minari(Dataset(folder, strict=strict), out, name)
            console.print(f"wrote {written} episodes to {out / name}; {lone} of a single frame left out")
        case ImportConfig(tub, out, frames, max_steering_rad, strict):
            settings = {"tub": tub.name, "max_steering_rad": max_steering_rad, **asdict(frames)}
            with Recorder(out, "donkeycar", (frames.height_px, frames.width_px), settings) as recorder:
                count = import_tub(tub, recorder, frames, max_steering_rad, strict)
            console.print(f"added {count} frames to {out}")
    return 0


def tell(dataset: Dataset, console: Console) -> None:
    """Print what there is."""
    sources = Counter(shard.header.source for shard in dataset.shards if shard.header)
    known = [label for label in LABELS if not np.isnan(dataset.column(label)).any()]
    rows = {
        "frames": f"{len(dataset)} of {dataset.header.height_px} × {dataset.header.width_px} pixels (height, width)",
        "episodes": f"{len(dataset.lengths)}, {dataset.lengths.mean():.1f} frames on average",
        "disengagements": f"{dataset.column('terminated').sum()}",
        "way": f"{np.nansum(dataset.column('reward')):.1f} m along the lane",
        "labels": ", ".join(known) or "none is known of all frames",
        "shards": f"{len(dataset.shards)}, {sum(shard.path.stat().st_size for shard in dataset.shards) / 1e6:.1f} MB",
        "written by": ", ".join(f"lapwing {source} ({count} shards)" for source, count in sources.items()),
        "settings": ", ".join(f"{name} {value}" for name, value in dataset.header.settings.items()),
        "damaged": f"{len(dataset.damage)} places",
    }
    for name, value in rows.items():
        console.print(f"{name:15}{value}", highlight=False, soft_wrap=True, markup=False)


def check(dataset: Dataset, console: Console) -> int:
    """Decompress every frame; 1 if something is damaged, which Dataset has said."""
    for _ in dataset.episodes():
        pass
    for shard in dataset.shards:
        if shard.unfinished:
            console.print(f"{shard.path}: its writer was killed; the episodes that were finished are all there")
    console.print(f"{len(dataset.lengths)} episodes are whole, {len(dataset.damage)} places are damaged")
    return 1 if dataset.damage else 0
