"""Files that are whole or not there, written beside their name and renamed; folders that one process writes to."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderInUseError(RuntimeError):
    """Another process writes to that folder."""

    exit_code = 2


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, making its folder; a reader sees the old content or the new, never a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make the folder and keep other processes out that ask so too, until this one leaves or dies.

    Raises FolderInUseError while another is in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entry = os.open(folder, os.O_RDONLY)
    try:
        _lock(entry, folder)
        yield
    finally:
        os.close(entry)


def _lock(entry: int, folder: Path) -> None:
    try:
        fcntl.flock(entry, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FolderInUseError(f"{folder}: another process writes to it; stop that first, or choose another") from error
