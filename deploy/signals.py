"""Ending a program in good order."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a closed terminal all raise KeyboardInterrupt, unless nohup is to outlive the latter.

    Only the main thread of a program can do so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.default_int_handler) for number in ENDING}
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, _hung_up)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hung_up(number: int, _frame: object) -> None:
    """Of a closed terminal both shell and kernel tell; the second time must not break off what the first has begun."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
