"""A run on disk, so that it can go on: everything it depends on, the last two times it was saved.

    checkpoints/step-000020000/
        learner.safetensors   networks, targets, optimisers, generators
        replay-NAME.npy       one array each
        run.json              counters, exploration
        SHA256SUMS            of all of these; `sha256sum --check` understands it

A snapshot is written into a folder beside and renamed when it is whole. A damaged one is found by its checksums, and
the one before it is used. Nothing is pickled.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from agent.snapshot_folder import CHECKPOINTS as CHECKPOINTS
from agent.snapshot_folder import snapshots as snapshots

KEPT = 2  # snapshots
BEFORE = ".before.part"  # behind the name of a snapshot that is about to be replaced
LEARNER, RUN, SUMS = "learner.safetensors", "run.json", "SHA256SUMS"


class SnapshotError(ValueError):
    """There is no snapshot to go on from, or none that is whole."""

    exit_code = 2


class Snapshot(NamedTuple):
    """What a run depends on; the facts are JSON-ready."""

    step: int
    tensors: dict[str, Tensor]
    replay: dict[str, Tensor]
    facts: dict[str, Any]


def insist_on_same(written: Path, config: bytes, free: set[str]) -> None:
    """Raise SnapshotError when the config.json that was written is another's than this, but for what is free.

    It names the first setting that differs, in the config's order.
    """
    before, now = read_settings(written), json.loads(config)
    for name in now:
        if name not in free and before.get(name) != now[name]:
            raise SnapshotError(f"{written}: {name} was {before.get(name)}, now it is {now[name]}; expected the same")


def read_settings(written: Path) -> dict[str, Any]:
    """The settings in a run's config.json. Raises SnapshotError where there are none."""
    try:
        found = json.loads(written.read_bytes())
    except FileNotFoundError:
        raise SnapshotError(f"{written}: no such run to resume; expected what `lapwing train` writes") from None
    except ValueError as error:
        raise SnapshotError(f"{written}: damaged, {error}; expected what `lapwing train` writes") from error
    if not isinstance(found, dict):
        raise SnapshotError(f"{written}: damaged, no settings in it; expected what `lapwing train` writes")
    return found


def learner_tensors(algorithm: Any) -> dict[str, Tensor]:
    """All that the updates depend on: the algorithm's state and torch's own generator."""
    own = {f"algorithm.{name}": tensor for name, tensor in algorithm.state_dict().items()}
    return own | {"torch": torch.get_rng_state()}


def restore_learner(algorithm: Any, tensors: dict[str, Tensor]) -> None:
    """Put back what `learner_tensors` gave."""
    torch.set_rng_state(tensors["torch"])
    algorithm.load_state_dict({name.removeprefix("algorithm."): x for name, x in tensors.items() if name != "torch"})


def save_snapshot(folder: Path, snapshot: Snapshot) -> None:
    """Write a snapshot into the folder of snapshots, then remove all but the last two."""
    whole = folder / f"step-{snapshot.step:09d}"
    part, before = whole.with_suffix(".part"), whole.with_suffix(BEFORE)
    _tidy(folder)
    part.mkdir(parents=True)
    try:
        _write(part, snapshot)
        if whole.exists():  # of the same step; it goes only once its successor is written
            whole.rename(before)
        part.rename(whole)
    finally:
        _tidy(folder)
    for old in snapshots(folder)[KEPT:]:
        shutil.rmtree(old)


def load_newest(folder: Path, warn: Callable[[str], None]) -> Snapshot:
    """Read the newest sound snapshot; `warn` is told of each damaged one. Raises SnapshotError when there is none."""
    _tidy(folder)
    for path in snapshots(folder):
        try:
            return _read(path)
        except SnapshotError as error:
            warn(f"{error}; it is passed over")
    raise SnapshotError(f"{folder}: no sound checkpoint to go on from; start anew without --resume")


def _tidy(folder: Path) -> None:
    """Put back what was to make room for a successor that did not come, and remove what was not written to its end."""
    for before in folder.glob(f"*{BEFORE}"):
        whole = folder / before.name.removesuffix(BEFORE)
        if not whole.exists():
            before.rename(whole)
    for part in folder.glob("*.part"):
        shutil.rmtree(part, ignore_errors=True)


def _write(folder: Path, snapshot: Snapshot) -> None:
    for name, tensor in snapshot.replay.items():
        np.save(folder / f"replay-{name}.npy", tensor.numpy(), allow_pickle=False)
    save_file({name: tensor.contiguous() for name, tensor in snapshot.tensors.items()}, folder / LEARNER)
    (folder / RUN).write_text(json.dumps({"step": snapshot.step, **snapshot.facts}, indent=1))
    sums = [f"{_sum(file)}  {file.name}\n" for file in sorted(folder.iterdir())]
    (folder / SUMS).write_text("".join(sums))


def _read(folder: Path) -> Snapshot:
    """Read a snapshot whose files are as they were written. Raises SnapshotError naming the one that is not."""
    _check(folder)
    facts = json.loads((folder / RUN).read_bytes())
    replay = {
        file.stem.removeprefix("replay-"): torch.from_numpy(np.load(file, allow_pickle=False))
        for file in folder.glob("replay-*.npy")
    }
    return Snapshot(facts.pop("step"), load_file(folder / LEARNER), replay, facts)


def _check(folder: Path) -> None:
    """Raise SnapshotError when a file is missing, not as it was written, or not known to the checksums."""
    try:
        lines = (folder / SUMS).read_text(errors="replace").splitlines()
        known = {line[66:]: line[:64] for line in lines}
        for name, expected in known.items():
            if "\0" in name or _sum(folder / name) != expected:
                raise SnapshotError(f"{folder}: damaged checkpoint, {name} is not as it was written")
        if known.keys() != {file.name for file in folder.iterdir()} - {SUMS}:
            raise SnapshotError(f"{folder}: damaged checkpoint, {SUMS} is not as it was written")
    except OSError as error:
        raise SnapshotError(f"{folder}: damaged checkpoint, cannot read {error.filename}") from error


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
