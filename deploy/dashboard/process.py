"""The dashboard's process: started beside a control loop, ended with it, and never in its way."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from secrets import token_urlsafe

from deploy.dashboard.link import Link

LOOPBACK = "127.0.0.1"
LINE_BYTES = 1 << 19  # that may wait in the line, if the kernel grants it: some 20 cycles
FAREWELL_S = 3.0  # to tell the pages that it is over


class DashboardError(Exception):
    """The dashboard's port cannot be had."""

    exit_code = 2


@contextmanager
def opened(port: int) -> Iterator[Link]:
    """A dashboard at that port of this machine, in a process of its own (port 0: any free one); yields the line to it.

    The process has neither the priority nor the locked memory of who starts it, and ends when the line does, however
    that came about. Raises DashboardError.
    """
    token = token_urlsafe(16)
    with _listener(port) as listener:
        url = f"http://{LOOPBACK}:{listener.getsockname()[1]}/#token={token}"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LINE_BYTES)
        process = get_context("spawn").Process(target=live, args=(theirs, listener, token), daemon=True)
        process.start()
        theirs.close()
    link = Link(ours, url)
    try:
        yield link
    finally:
        link.close()
        process.join(FAREWELL_S)
        process.kill()
        process.join()
        process.close()


@contextmanager
def wanted(port: int | None) -> Iterator[Link | None]:
    """The same where one is wanted; None where not."""
    if port is None:
        yield None
        return
    with opened(port) as link:
        yield link


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise DashboardError(f"dashboard port {port} cannot be used ({error}); choose another") from error
    return listener


def live(line: socket.socket, listener: socket.socket, token: str) -> None:
    """Be the dashboard's process until the other end of the line is closed."""
    os.setsid()  # the terminal's Ctrl-C and hang-up are for the loop, which then closes the line
    from deploy.dashboard.app import serve  # only here: the loop needs no web server

    asyncio.run(serve(line, listener, token))
