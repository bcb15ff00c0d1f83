"""Writing a drive log, an MCAP file, without ever delaying the drive."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple, Self

import numpy as np
from mcap.writer import CompressionType, Writer
from numpy.typing import NDArray

from deploy.driving.faults import Fault
from deploy.log.entries import DriveFacts, Entry, LogError
from deploy.log.messages import METADATA, messages, schemas, to_metadata

BEHIND_S = 1.0  # so far the log may lag behind the drive; with more to lose in a crash the car stops
LOST_S = 10.0  # then memory may run out, and the log ends
BUFFER_BYTES = 1 << 20  # more than a tick, which is so written by one call
SYNC_S = 1.0  # so often the disk is told to keep what it has, should the power fail


class Tick(NamedTuple):
    """What waits to be written."""

    entry: Entry
    image: NDArray[np.uint8]


class DriveLog:
    """Writes drive.mcap into a folder, in a thread of its own; complete and indexed under its name once closed.

    Until then it is drive.mcap.part, in which every tick is one chunk, written at once: whatever becomes of this
    process, all ticks before are there. It never has a gap: after the first tick that cannot be written comes none.
    """

    def __init__(self, folder: Path, facts: DriveFacts) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "drive.mcap"
        self.part = folder / "drive.mcap.part"
        self._facts = facts
        self._queue: SimpleQueue[Tick | None] = SimpleQueue()
        self._file = self.part.open("wb", BUFFER_BYTES)
        self._overflowed = False
        self._thread = ThreadPoolExecutor(1, "log")
        self._written = self._thread.submit(self._write)

    @property
    def lost(self) -> bool:
        """Whether ticks are missing for good."""
        return self._overflowed or self._written.done()

    @property
    def trouble(self) -> Fault | None:
        """Why the drive is not recorded any more, or not soon enough."""
        if self._written.done():
            return Fault("log", f"not written any more ({self._written.exception()})")
        if self._overflowed or self._behind_s > BEHIND_S:
            return Fault("log", f"{self._behind_s:.1f} s behind, the disk is too slow")
        return None

    def write(self, entry: Entry, image: NDArray[np.uint8]) -> None:
        """Have a tick written, and what its camera saw, (H, W, 3) uint8 RGB; neither waits nor raises."""
        self._overflowed = self._overflowed or self._behind_s > LOST_S
        if not self.lost:
            self._queue.put(Tick(entry, image.copy()))  # a camera may use its memory again

    def close(self) -> None:
        """Complete the file. Raises LogError if the end of the drive is not in it."""
        self._queue.put(None)
        try:
            with self._file, self._thread:
                self._written.result()
        except OSError as error:
            raise LogError(
                f"drive log {self.part} ends before the drive: it could not be written ({error.strerror})"
            ) from error
        os.replace(self.part, self.path)
        if self._overflowed:
            raise LogError(f"drive log {self.path} ends before the drive: the disk was too slow")

    @property
    def _behind_s(self) -> float:
        return self._queue.qsize() * self._facts.spec.period_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self) -> None:
        """The thread: to the end of the drive, or of the disk."""
        writer = Writer(self._file, compression=CompressionType.NONE)  # what is large is compressed already
        writer.start(library=f"lapwing {self._facts.lapwing}")
        writer.add_metadata(METADATA, to_metadata(self._facts))
        channels = _register(writer)
        before, synced_at_s = None, time.monotonic()
        for entry, image in iter(self._queue.get, None):
            stamp_ns = self._facts.started_at_ns + round(entry.t_s * 1e9)
            for topic, message in messages(before, entry, image, stamp_ns):
                writer.add_message(channels[topic], stamp_ns, message, stamp_ns, entry.tick)
            writer.flush()  # a chunk of its own
            if time.monotonic() - synced_at_s > SYNC_S:
                os.fsync(self._file.fileno())
                synced_at_s = time.monotonic()
            before = entry
        writer.finish()
        writer.flush()
        os.fsync(self._file.fileno())


def _register(writer: Writer) -> dict[str, int]:
    """Topic -> its channel."""
    return {
        topic: writer.register_channel(
            topic, schema.message_encoding, writer.register_schema(schema.name, schema.encoding, schema.text)
        )
        for topic, schema in schemas().items()
    }
