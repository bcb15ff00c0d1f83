"""The keys of the terminal, one by one as they are pressed."""

import os
import re
import select
import sys
import termios
import tty
from contextlib import suppress

KEY = re.compile(rb"\x1b\[[A-D]|.", re.DOTALL)  # an arrow key sends three bytes


class TerminalError(Exception):
    """There is no terminal, or not any more."""

    exit_code = 2


class Terminal:
    """Standard input without waiting for Enter, while it is open. Raises TerminalError where it is no terminal."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        if not os.isatty(self._fd):
            raise TerminalError("standard input is no terminal")
        self._before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)

    def pressed(self) -> list[bytes]:
        """The keys pressed since the last time, e.g. b"x" or b"\\x1b[A"; never waits. Raises TerminalError."""
        keys: list[bytes] = []
        while select.select([self._fd], [], [], 0)[0]:
            keys.extend(KEY.findall(self._read()))
        return keys

    def close(self) -> None:
        """Give the terminal back as it was, if it is still there."""
        with suppress(termios.error):
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def _read(self) -> bytes:
        with suppress(OSError):  # a terminal that is gone fails or has come to its end
            if keys := os.read(self._fd, 64):
                return keys
        raise TerminalError("the terminal is gone")
