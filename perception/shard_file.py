"""Finds the whole episodes of a shard, whatever has become of the file."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pyarrow as pa

from perception.shards import END, FORMAT, DatasetError, Header, Version, checksum, numbers, schema_of

BROKEN = (pa.ArrowException, OSError)  # what Arrow raises on damaged bytes
MARK = END[:4]  # with which every message begins


@dataclass
class Shard:
    """The whole episodes of a file, which stays on disk: it is mapped, and a batch is looked up when asked for.

    `damage` says in a line each what cannot be read and is left out; what a killed writer left unfinished is no damage.
    Raises DatasetError, naming the file, if it is no shard at all.
    """

    path: Path
    header: Header | None = None  # None if the writer was killed before it had said anything
    frames: list[int] = field(default_factory=list)  # of each episode
    damage: list[str] = field(default_factory=list)
    unfinished: bool = False

    def __post_init__(self) -> None:
        with pa.memory_map(str(self.path)) as file:
            self._content = file.read_buffer()
        self._offsets: list[int] = []
        self._next = self._read_schema()
        while self._next is not None:
            self._next = self._read_episode(self._next)

    def batch(self, i: int) -> pa.RecordBatch:
        """The i-th whole episode."""
        return pa.ipc.read_record_batch(self._content.slice(self._offsets[i]), self._schema)

    def _read_schema(self) -> int | None:
        file = pa.BufferReader(self._content)
        try:
            message = pa.ipc.read_message(file)
            schema = pa.ipc.read_schema(message)
        except (*BROKEN, EOFError) as error:
            if self._is_cut_off(0):
                self.unfinished = True
                return None
            raise DatasetError(f"{self.path}: is not a shard of a dataset: {error}") from None
        self.header, self._schema = self._header_of(schema), schema
        return file.tell()

    def _header_of(self, schema: pa.Schema) -> Header:
        about = (schema.metadata or {}).get(b"lapwing")
        if about is None:
            raise DatasetError(f"{self.path}: is an Arrow stream, but not a dataset of lapwing's")
        try:
            version = msgspec.json.decode(about, type=Version)
            if version.format != FORMAT:
                raise DatasetError(f"{self.path}: format is {version.format!r}, expected {FORMAT!r}")
            header = msgspec.json.decode(about, type=Header)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DatasetError(f"{self.path}: has a damaged header: {error}") from None
        if not schema.equals(schema_of(header), check_metadata=True):
            raise DatasetError(f"{self.path}: has a damaged header: its checksum or a column differs")
        return header

    def _read_episode(self, at: int) -> int | None:
        """Enter the episode there if it is sound; returns where the next one is, None at the end."""
        file = pa.BufferReader(self._content)
        file.seek(at)
        try:
            message = pa.ipc.read_message(file)
        except EOFError:
            if self._content.size > at + len(END):
                self.damage.append(f"{self.path}: {self._after(at)} is something else than episodes; it is left out")
            return None
        except BROKEN:
            self.unfinished = self._is_cut_off(at)
            if not self.unfinished:
                self.damage.append(f"{self.path}: is damaged {self._after(at)}; the rest of it is left out")
            return None
        if complaint := self._complaint(message):
            self.damage.append(f"{self.path}: the episode {self._after(at)} is damaged and left out: {complaint}")
        else:
            self._offsets.append(at)
        return file.tell()

    def _after(self, at: int) -> str:
        return f"after {f'episode {self._number}' if self.frames else 'the header'} (byte {at})"

    def _complaint(self, message: pa.Message) -> str:
        """What is wrong with an episode, nothing if it is sound."""
        try:
            batch = pa.ipc.read_record_batch(message, self._schema)
            batch.validate(full=True)
        except BROKEN as error:
            return str(error).partition("\n")[0]
        if batch.num_rows == 0 or any(column.null_count for column in batch.columns):
            return "a value is missing"
        if (numbers(batch, "crc32") != checksum(batch.columns[:-1])).any():
            return "its checksum differs"
        self._number = int(numbers(batch, "episode")[0])
        self.frames.append(batch.num_rows)
        return ""

    @property
    def last_number(self) -> int:
        """The number of the last whole episode; -1 if there is none."""
        return self._number if self.frames else -1

    def _is_cut_off(self, at: int) -> bool:
        """True if the file ends within the message that begins there, as when its writer is killed.

        A damaged length looks the same; but then there are whole messages behind it, or the end of the stream.
        """
        content = memoryview(self._content)[at:].tobytes()
        if content.endswith(END) or content[: len(MARK)] != MARK[: len(content)]:
            return False
        after = content.find(MARK, len(MARK))
        while after != -1:
            if self._is_message(at + after):
                return False
            after = content.find(MARK, after + 1)
        return True

    def _is_message(self, at: int) -> bool:
        try:
            return pa.ipc.read_message(self._content.slice(at)).type == "record batch"
        except (*BROKEN, EOFError):
            return False
