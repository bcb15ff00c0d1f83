"""Reading a drive log."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from mcap.exceptions import EndOfFile, McapError
from mcap.records import Channel, McapRecord, Message, Metadata
from mcap.stream_reader import StreamReader
from numpy.typing import NDArray

from deploy.log.entries import DriveFacts, Entry, LogError
from deploy.log.messages import CAMERA, METADATA, TICK, from_camera, from_json, from_metadata

RECORD_BYTES = 1 << 28  # a longer record is damage: a tick has some kilobytes


class LoggedTick(NamedTuple):
    """What was written of a tick."""

    entry: Entry
    camera: bytes | None  # the message of its image, see `image`

    @property
    def image(self) -> NDArray[np.uint8] | None:
        """What the camera saw, (H, W, 3) uint8 RGB; None if that was no picture of a camera's kind."""
        return None if self.camera is None else from_camera(self.camera)


def read_log(path: Path) -> list[Entry]:
    """All ticks of a drive. Raises LogError if the log is missing or damaged."""
    return [tick.entry for tick in read_ticks(path)]


def read_facts(path: Path) -> DriveFacts:
    """What holds for the whole drive. Raises LogError if the log is missing or damaged."""
    for record in _records(path, emit_chunks=True):
        if isinstance(record, Metadata) and record.name == METADATA:
            try:
                return from_metadata(record.metadata)
            except msgspec.MsgspecError as error:
                raise LogError(f"drive log {path} tells what this version cannot read: {error}") from error
    raise LogError(f"drive log {path} is of something else: it has no metadata record {METADATA!r}")


def read_ticks(path: Path) -> Iterator[LoggedTick]:
    """The ticks of a drive one by one, images and all. Raises LogError if the log is missing or damaged.

    A file that still has .part in its name is of a drive that was cut short: it ends with the last whole tick.
    """
    topics: dict[int, str] = {}
    camera: Message | None = None
    for record in _records(path):
        match record:
            case Channel():
                topics[record.id] = record.topic
            case Message() if topics[record.channel_id] == CAMERA:
                camera = record
            case Message() if topics[record.channel_id] == TICK:
                yield LoggedTick(_entry(path, record), _of_this_tick(camera, record))


def _entry(path: Path, message: Message) -> Entry:
    try:
        return from_json(message.data)
    except msgspec.MsgspecError as error:
        raise LogError(f"drive log {path} is damaged at tick {message.sequence}: {error}") from error


def _of_this_tick(camera: Message | None, tick: Message) -> bytes | None:
    return camera.data if camera and camera.sequence == tick.sequence else None


def _records(path: Path, emit_chunks: bool = False) -> Iterator[McapRecord]:
    try:
        with path.open("rb") as file:
            reader = StreamReader(file, emit_chunks=emit_chunks, validate_crcs=True, record_size_limit=RECORD_BYTES)
            yield from reader.records
    except OSError as error:
        raise LogError(f"drive log {path} cannot be read: {error.strerror}{_cut_short(path)}") from error
    except (EndOfFile, struct.error) as error:  # what a record that ends too early is read as
        if path.suffix != ".part":
            raise LogError(f"drive log {path} is damaged: it ends within a record") from error
    except (McapError, ValueError) as error:
        raise LogError(f"drive log {path} is damaged: {error}") from error


def _cut_short(path: Path) -> str:
    """A hint where to look."""
    part = path.with_name(path.name + ".part")
    return f"; the drive was cut short, {part.name} has it up to then" if part.exists() else ""
