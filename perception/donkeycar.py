"""Imports what a Donkey Car has recorded: a tub, version 2 (donkeycar 4 and 5).

A tub is a folder with manifest.json (five lines of JSON), catalogs of a JSON record per line, and JPEGs in images/.
donkeycar has right positive and throttle from -1 (back) to 1; here left is positive and the speed set-point goes from
-1 (stand still) to 1, so that throttle t ≥ 0 becomes 2t - 1 and driving back stand still.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np

from perception.recorder import STANDING, Recorder
from perception.shards import DatasetError

GAP_MS = 500  # a longer pause ends an episode; ten periods of donkeycar's 20 Hz

log = logging.getLogger("lapwing")


@dataclass(frozen=True)
class Frames:
    """How a tub's pictures become frames."""

    height_px: int = 64
    width_px: int = 64
    crop_top: float = 0.0  # share of the picture to cut off above, where there is no road, in [0, 1)

    def __post_init__(self) -> None:
        if not 0 <= self.crop_top < 1:
            raise DatasetError(f"crop_top is {self.crop_top:g}, expected 0 or more and less than 1")
        if min(self.height_px, self.width_px) < 1:
            raise DatasetError(f"size is {(self.height_px, self.width_px)}, expected (height, width) in pixels, from 1")

    def of(self, path: Path) -> np.ndarray | None:
        """The frame of a picture file, (height_px, width_px, 3) uint8 RGB; None if it cannot be read."""
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            return None
        below = picture[int(self.crop_top * len(picture)) :]
        small = cv2.resize(below, (self.width_px, self.height_px), interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(small, cv2.COLOR_BGR2RGB)


def import_tub(tub: Path, recorder: Recorder, frames: Frames, max_steering_rad: float, strict: bool = False) -> int:
    """Add a tub's records to a dataset; returns how many. The recorder's frames must have the size of `frames`.

    An episode ends where a record was deleted, at a pause and at a session's end. A tub knows neither speed, reward
    nor lane: these are NaN; steering_rad is that of the angle before, for a servo does not tell. A picture that cannot
    be read is left out with a warning, or with `strict` an error. Raises DatasetError for what is no tub.
    """
    count, before = 0, None
    for record in read_records(tub):
        path = tub / "images" / Path(record["cam/image_array"]).name
        image = frames.of(path)
        if image is None:
            if strict:
                raise DatasetError(f"{path}: is missing, or not a picture")
            log.warning(f"{path}: is missing, or not a picture; it is left out")
            before = None
            continue
        executed = executed_action(before) if before else np.array(STANDING, np.float32)
        state = np.array([np.nan, executed[0] * max_steering_rad, *executed], np.float32)
        if before and follows(before, record):
            recorder.step(executed, np.nan, image, state)
        else:
            state[1:] = (0.0, *STANDING)
            recorder.start(image, state)
        before, count = record, count + 1
    if count == 0:
        raise DatasetError(f"{tub}: holds no record that can be read")
    return count


def follows(before: dict[str, Any], record: dict[str, Any]) -> bool:
    """True if nothing was left out between two records."""
    pause_ms = record["_timestamp_ms"] - before["_timestamp_ms"]
    same = record.get("_session_id") == before.get("_session_id")
    return same and record["_index"] == before["_index"] + 1 and 0 <= pause_ms <= GAP_MS


def executed_action(record: dict[str, Any]) -> np.ndarray:
    """What drove the car, (2,) float32: the user, or in mode local the pilot and in local_angle its steering."""
    mode = record.get("user/mode", "user")
    angle = record.get("pilot/angle") if mode in ("local", "local_angle") else None
    throttle = record.get("pilot/throttle") if mode == "local" else None
    angle = record["user/angle"] if angle is None else angle
    throttle = record["user/throttle"] if throttle is None else throttle
    return np.array([-np.clip(angle, -1, 1), 2 * np.clip(throttle, 0, 1) - 1], np.float32)


def read_records(tub: Path) -> Iterator[dict[str, Any]]:
    """The records that were not deleted. Raises DatasetError, naming the file, for what is no tub or lacks a field."""
    catalogs, deleted = _read_manifest(tub / "manifest.json")
    for name in catalogs:
        path = tub / Path(name).name
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            raise DatasetError(f"{path}: is missing, but manifest.json lists it") from None
        for i, line in enumerate(lines):
            record = _read_record(line, f"{path}: line {i + 1}", last=i == len(lines) - 1)
            if record and record["_index"] not in deleted:
                yield record


def _read_manifest(path: Path) -> tuple[list[str], set[int]]:
    """The names of the catalogs, and the indexes of deleted records."""
    try:
        lines = path.read_bytes().splitlines()
        catalogs = msgspec.json.decode(lines[4])
        return msgspec.convert((catalogs["paths"], catalogs["deleted_indexes"]), tuple[list[str], set[int]])
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(f"{path}: there is no donkeycar tub (version 2) here") from None
    except (msgspec.MsgspecError, IndexError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: is not the manifest of a donkeycar tub, version 2: {error}") from None


def _read_record(line: bytes, where: str, last: bool) -> dict[str, Any] | None:
    """A record; None for the last line if the car's power went while it was written."""
    try:
        record = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as error:
        if last:
            return None
        raise DatasetError(f"{where}: is not a record: {error}") from None
    for name, kind in (
        *(("cam/image_array", str), ("user/angle", float), ("user/throttle", float)),
        *(("_index", int), ("_timestamp_ms", int)),
    ):
        found = record.get(name)
        if not isinstance(found, kind) and not (kind is float and isinstance(found, int)):
            raise DatasetError(f"{where}: {name} is {found!r}, expected a {kind.__name__}")
    return record
