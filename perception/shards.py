"""One file of a dataset: episodes as record batches of an Apache Arrow IPC stream, each with its own checksum.

    shard = schema (its metadata has the Header as JSON under "lapwing"), one record batch per episode, end of stream

A row is a moment: what was seen, what was known, and the action that led to the next row. A file whose writer was
killed ends within a batch, or without the end of stream; the batches before are whole. Needs neither torch nor
gymnasium.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

FORMAT = "lapwing-dataset/1"
STATE = ("speed_mps", "steering_rad", "executed_steering", "executed_speed")  # the executed action before, in [-1, 1]
LABELS = ("lateral_offset_m", "heading_error_rad", "curvature_1pm")
LABELS += ("curvature_2m_1pm", "curvature_5m_1pm", "curvature_10m_1pm")  # so far ahead, at full size
AHEAD = "curvature_ahead_1pm"  # in an environment's info, the last three of LABELS
END = b"\xff\xff\xff\xff\0\0\0\0"  # of an Arrow IPC stream
PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB)  # lossless, and fast

COLUMNS = (
    ("episode", pa.int64()),
    ("seed", pa.int64()),
    ("frame", pa.int32()),
    ("image", pa.binary()),
    ("state", pa.list_(pa.float32(), len(STATE))),
    *((label, pa.float32()) for label in LABELS),
    ("action", pa.list_(pa.float32(), 2)),
    ("reward", pa.float32()),
    ("terminated", pa.bool_()),
    ("truncated", pa.bool_()),
    ("crc32", pa.uint32()),
)


class DatasetError(Exception):
    """A dataset that cannot be read or written; the message names the file."""

    exit_code = 2


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for every episode of a shard."""

    source: str  # what wrote it: record, drive, play or donkeycar
    height_px: int
    width_px: int
    settings: dict[str, Any] = {}  # the writer's, for people
    format: str = FORMAT

    @property
    def size(self) -> tuple[int, int]:
        return self.height_px, self.width_px


class Version(msgspec.Struct):
    """The part of a header that every version has."""

    format: str


@dataclass(frozen=True)
class Episode:
    """One drive: what was seen at n moments and what was done between them. What is not known of it is NaN."""

    images: np.ndarray  # (n, h, w, 3) uint8 RGB
    states: np.ndarray  # (n, 4) float32, columns as in STATE
    labels: np.ndarray  # (n, 6) float32, columns as in LABELS; left positive
    actions: np.ndarray  # (n - 1, 2) float32 in [-1, 1]; actions[i] leads from moment i to i + 1
    rewards: np.ndarray  # (n - 1,) float32, metres along the lane
    terminated: bool  # the last moment is a disengagement; else the drive was cut off there (truncated)
    seed: int = -1  # with which the environment was reset; -1 without one

    def label(self, name: str) -> np.ndarray:
        """One of LABELS, (n,) float32."""
        return self.labels[:, LABELS.index(name)]


def labels_of(info: dict[str, Any]) -> list[float]:
    """What an environment's info tells of LABELS; NaN for the rest."""
    told = info | dict(zip(LABELS[-3:], info.get(AHEAD, ()), strict=False))
    return [float(told.get(label, np.nan)) for label in LABELS]


def schema_of(header: Header) -> pa.Schema:
    fields = [pa.field(name, kind, nullable=False) for name, kind in COLUMNS]
    about = msgspec.json.encode(header)
    return pa.schema(fields, metadata={"lapwing": about, "crc32": str(zlib.crc32(about))})


def compress(image: np.ndarray, header: Header) -> bytes:
    """A frame as PNG. Raises DatasetError unless it is (h, w, 3) uint8 of the header's size."""
    expected = (*header.size, 3)
    if image.shape != expected or image.dtype != np.uint8:
        raise DatasetError(f"image is {image.shape} {image.dtype}, expected {expected} uint8")
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), PNG)[1].tobytes()


def decompress(png: Any, header: Header) -> np.ndarray:
    """The frame in a PNG, (h, w, 3) uint8 RGB. Raises DatasetError unless it is one, and of the header's size."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    if image is None or image.shape[:2] != header.size:
        found = "not a picture" if image is None else f"{image.shape[:2]} pixels"
        raise DatasetError(f"a frame is {found}, expected {header.size} (height, width)")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def pack_episode(number: int, episode: Episode, header: Header) -> pa.RecordBatch:
    """An episode as a record batch. Raises DatasetError for images of another size and for numbers amiss."""
    return pack(
        number,
        images=[compress(image, header) for image in episode.images],
        states=episode.states,
        labels=episode.labels,
        actions=episode.actions,
        rewards=episode.rewards,
        terminated=episode.terminated,
        seed=episode.seed,
    )


def pack(
    number: int,
    *,
    images: Sequence[bytes],
    states: ArrayLike,
    labels: ArrayLike,
    actions: ArrayLike,
    rewards: ArrayLike,
    terminated: bool,
    seed: int,
) -> pa.RecordBatch:
    """The same of frames that are compressed already."""
    n = len(images)
    last = np.arange(n) == n - 1
    actions, rewards = np.asarray(actions, np.float32).reshape(-1, 2), np.asarray(rewards, np.float32)
    columns = {
        "episode": np.full(n, number, np.int64),
        "seed": np.full(n, seed, np.int64),
        "frame": np.arange(n, dtype=np.int32),
        "image": images,
        "state": np.asarray(states, np.float32),
        **dict(zip(LABELS, np.asarray(labels, np.float32).T, strict=True)),
        "action": np.append(actions, np.full((1, 2), np.nan, np.float32), axis=0),
        "reward": np.append(rewards, np.float32(np.nan)),
        "terminated": last & terminated,
        "truncated": last & (not terminated),
    }
    _insist_on_numbers(number, columns, n)
    arrays = {name: _array(columns[name], kind) for name, kind in COLUMNS if name != "crc32"}
    arrays["crc32"] = pa.array(np.full(n, checksum(arrays.values()), np.uint32))
    return pa.record_batch(list(arrays.values()), names=list(arrays))


def _insist_on_numbers(number: int, columns: dict[str, Any], n: int) -> None:
    for name, values in columns.items():
        if len(values) != n:
            raise DatasetError(f"episode {number}: {name} has {len(values)} rows, expected {n}, one per frame")
        if name != "image" and np.isinf(values).any():
            raise DatasetError(f"episode {number}: {name} is infinite, expected numbers, or NaN where it is not known")
    actions = columns["action"][:-1]
    if not (np.abs(actions) <= 1).all():
        raise DatasetError(f"episode {number}: an action is outside [-1, 1] or not a number")


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(np.ascontiguousarray(values).reshape(-1), type=kind)
    return pa.array(values, kind)


def checksum(columns: Any) -> int:
    """CRC-32 of what the columns hold, one after another: of the values, not of how Arrow lays them out."""
    crc = 0
    for column in columns:
        for part in _bytes_of(column):
            crc = zlib.crc32(part, crc)
    return crc


def _bytes_of(column: pa.Array) -> Iterator[Any]:
    """Little-endian values; of PNGs first how long each is."""
    if pa.types.is_binary(column.type):
        pngs = [value.as_buffer() for value in column]
        yield np.array([png.size for png in pngs], "<i8")
        yield from pngs
    else:
        flat = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
        yield np.ascontiguousarray(flat.to_numpy(zero_copy_only=False))


def unpack(batch: pa.RecordBatch, header: Header) -> Episode:
    """The episode in a record batch. Raises DatasetError as decompress does."""
    return Episode(
        images=np.stack([decompress(value.as_buffer(), header) for value in batch["image"]]),
        states=numbers(batch, "state"),
        labels=np.stack([numbers(batch, label) for label in LABELS], axis=1),
        actions=numbers(batch, "action")[:-1],
        rewards=numbers(batch, "reward")[:-1],
        terminated=bool(numbers(batch, "terminated")[-1]),
        seed=int(numbers(batch, "seed")[0]),
    )


def numbers(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """A column of numbers, (n,) or (n, k)."""
    column = batch[name]
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy().reshape(len(column), -1)
    return column.to_numpy(zero_copy_only=False)
