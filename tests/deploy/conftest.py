"""What several tests of the runtime need."""

import fcntl
import os
import pty
import select
import sys
import termios
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def type_keys(monkeypatch) -> Iterator[Callable[[bytes], None]]:
    """Types on the terminal that is standard input, until all has arrived there."""
    ours, theirs = pty.openpty()

    def type_keys(keys: bytes) -> None:
        os.write(ours, keys)
        while int.from_bytes(fcntl.ioctl(theirs, termios.FIONREAD, b"\0" * 4), sys.byteorder) < len(keys):
            select.select([theirs], [], [], 0.02)

    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        yield type_keys
    os.close(ours)
