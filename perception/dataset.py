"""A dataset: a folder of shards. Written an episode at a time, and read by frame or by episode without loading it all.

Needs neither torch nor gymnasium, so that a robot can record with it.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import pyarrow as pa

from perception.files import alone_in
from perception.shard_file import Shard
from perception.shards import (
    END,
    DatasetError,
    Episode,
    Header,
    decompress,
    numbers,
    pack_episode,
    schema_of,
    unpack,
)

SHARD_BYTES = 64 * 2**20  # after which a new shard is begun: a few thousand episodes, and quick to copy
OLD_INDEX = "dataset.json"  # of the format before this one

log = logging.getLogger("lapwing")


class EpisodeWriter:
    """Writes episodes to a folder; each is on disk whole when `append` returns, whatever becomes of this process.

    A dataset that is already there is replaced; with `add` its shards stay and new ones are added. Entered, it keeps
    other writers out. Raises DatasetError when the folder holds other things, or episodes whose images have another
    size; FolderInUseError while another process writes to it.
    """

    def __init__(self, folder: Path, header: Header, *, add: bool = False, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder, self.header = folder, header
        self.episodes = self.frames = 0  # written
        self._first, self._shards = 0, 0
        self._add, self._shard_bytes = add, shard_bytes
        self._file: BinaryIO | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self.folder.exists():
            _insist_on_dataset(self.folder)
        with ExitStack() as stack:
            stack.enter_context(alone_in(self.folder))
            stack.callback(self._end_shard)
            self._go_on() if self._add else self._replace()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def number(self) -> int:
        """Of the next episode."""
        return self._first + self.episodes

    def append(self, episode: Episode) -> None:
        """Write an episode. Raises DatasetError if its images have another size or its numbers are none."""
        self.write(pack_episode(self.number, episode, self.header))

    def write(self, batch: pa.RecordBatch) -> None:
        """Write an episode that is packed already, with the next number."""
        self.write_message(batch.serialize(), batch.num_rows)

    def write_message(self, message: pa.Buffer | bytes, frames: int) -> None:
        """Write an episode of so many frames that is a serialised batch already."""
        if self._file is None:
            self._file = (self.folder / f"shard-{self._shards:05}.arrow").open("xb", buffering=0)
            self._shards += 1
            self._put(schema_of(self.header).serialize())
        self._put(message)
        self.episodes += 1
        self.frames += frames
        if self._file.tell() >= self._shard_bytes:
            self._end_shard()

    def _put(self, message: pa.Buffer | bytes) -> None:
        """Write all of it or, when that fails, nothing."""
        assert self._file
        before, left = self._file.tell(), memoryview(message)
        try:
            while left:
                left = left[self._file.write(left) :]
        except BaseException:
            self._file.truncate(before)
            self._file.seek(before)
            raise

    def _end_shard(self) -> None:
        if self._file is not None:
            with self._file:
                self._put(END)
            self._file = None

    def _replace(self) -> None:
        for path in _paths(self.folder):
            path.unlink()

    def _go_on(self) -> None:
        for path in _paths(self.folder):
            shard = Shard(path)
            if shard.header and shard.header.size != self.header.size:
                raise DatasetError(
                    f"{path}: images are {shard.header.size} pixels (height, width), "
                    f"those to be added {self.header.size}; write them to another folder"
                )
            self._first = max(self._first, shard.last_number + 1)
            self._shards = int(path.stem.partition("-")[2]) + 1


class Dataset:
    """The whole episodes of a folder, in the order of writing, checked against their checksums.

    The files are mapped, not loaded; a frame is decompressed when it is asked for. Damage is left out, with a warning
    in the log "lapwing", or with `strict` an error. Raises DatasetError, naming the file, for that and where there is
    no whole episode or images differ in size.
    """

    def __init__(self, folder: Path, *, strict: bool = False) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise DatasetError(f"{folder}: there is no dataset here; write one with `lapwing record`")
        _insist_on_dataset(folder)
        self.shards, self.damage = _opened(folder)
        for line in self.damage:
            if strict:
                raise DatasetError(line)
            log.warning(line)
        if not self.shards:
            raise DatasetError(f"{folder}: holds no whole episode{_why(folder, self.damage)}")
        self.header = _common_header(self.shards)
        self._where = [(shard, i) for shard in self.shards for i in range(len(shard.frames))]
        self._ends = np.cumsum([shard.frames[i] for shard, i in self._where])  # of episodes, in frames

    def __len__(self) -> int:
        """Frames in all."""
        return int(self._ends[-1])

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each episode, (episodes,) int64."""
        return np.diff(self._ends, prepend=0)

    def episode(self, i: int) -> Episode:
        """The i-th episode, from 0."""
        with self._named(i):
            return unpack(self._batch(i), self.header)

    def episodes(self) -> Iterator[Episode]:
        """One episode after another."""
        return (self.episode(i) for i in range(len(self._where)))

    def frame(self, i: int) -> np.ndarray:
        """The i-th camera frame of all, (h, w, 3) uint8 RGB."""
        if not 0 <= i < len(self):
            raise IndexError(f"frame {i} of {len(self)}")
        episode = int(np.searchsorted(self._ends, i, side="right"))
        with self._named(episode):
            return decompress(self._batch(episode)["image"][i - self._ends[episode]].as_buffer(), self.header)

    def frames(self) -> np.ndarray:
        """All camera frames, (n, h, w, 3) uint8 RGB, in memory."""
        images = np.empty((len(self), *self.header.size, 3), np.uint8)
        for i, episode in enumerate(self.episodes()):
            images[self._ends[i] - len(episode.images) : self._ends[i]] = episode.images
        return images

    def shuffled(self, rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
        """Every frame once, with its number, in an order in which all are equally likely.

        As the shards are mapped, no buffer of frames is needed: what this holds in memory is 8 bytes a frame.
        """
        return ((i, self.frame(i)) for i in rng.permutation(len(self)).tolist())

    def column(self, *names: str) -> np.ndarray:
        """Columns of numbers of all frames, (n, …), several side by side; the images are not touched.

        Actions and rewards are NaN at the end of an episode, where nothing follows.
        """
        parts = [[numbers(self._batch(i), name) for i in range(len(self._where))] for name in names]
        columns = [np.concatenate(part) for part in parts]
        return columns[0] if len(columns) == 1 else np.column_stack(columns)

    @contextmanager
    def _named(self, i: int) -> Iterator[None]:
        """Errors say of which episode."""
        try:
            yield
        except DatasetError as error:
            raise DatasetError(f"{self._where[i][0].path}: the {i}-th episode: {error}") from None

    def _batch(self, i: int) -> pa.RecordBatch:
        shard, within = self._where[i]
        return shard.batch(within)


def _opened(folder: Path) -> tuple[list[Shard], list[str]]:
    """The shards with whole episodes, and what is amiss with any."""
    shards, damage = [], []
    for path in _paths(folder):
        try:
            shard = Shard(path)
        except DatasetError as error:
            damage.append(f"{error}; it is left out")
            continue
        damage += shard.damage
        if shard.frames:
            shards.append(shard)
    return shards, damage


def _why(folder: Path, damage: list[str]) -> str:
    if damage:
        return f" ({damage[0]})"
    files = _paths(folder)
    return f" ({files[-1].name} was cut off)" if files else "; write some with `lapwing record`"


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.arrow"))


def _insist_on_dataset(folder: Path) -> None:
    """Raise DatasetError when there are other things than shards."""
    for name in sorted(os.listdir(folder)):
        if name == OLD_INDEX:
            raise DatasetError(f"{folder / name}: is of an older format; remove the folder and record again")
        if not (name.startswith("shard-") and name.endswith(".arrow")):
            raise DatasetError(f"{folder / name}: is not part of a dataset; keep datasets in folders of their own")


def _common_header(shards: list[Shard]) -> Header:
    """That of the first shard. Raises DatasetError when the images of another have another size."""
    headers = [shard.header for shard in shards if shard.header]
    for shard, header in zip(shards, headers, strict=True):
        if header.size != headers[0].size:
            raise DatasetError(
                f"{shard.path}: images are {header.size} pixels (height, width), "
                f"those of {shards[0].path.name} {headers[0].size}"
            )
    return headers[0]
