"""What holds for every test: it lets go of every socket and child process that it took. And how to ask a command."""

import os
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from weakref import WeakSet

import pytest
import zmq
from hypothesis import settings
from jaxtyping import install_import_hook

import tests.typecheck  # noqa: F401 (the hook looks it up by name)
from lapwing import main

install_import_hook(["agent", "perception"], "tests.typecheck.check")  # shapes, whatever a test does

signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background inherits that Ctrl-C is ignored

os.environ["RAY_AUTH_MODE"] = "disabled"  # else Ray writes a key into the home folder

settings.register_profile("lapwing", deadline=None)  # a noisy machine is no failure
settings.load_profile("lapwing")


@pytest.fixture(autouse=True)
def _nothing_leaks() -> Iterator[None]:
    """Fail a test that leaves a ZeroMQ socket open or a child process behind."""
    before = children()
    with pytest.MonkeyPatch.context() as patch:
        opened = _watch_sockets(patch)
        yield
    sockets = [socket for socket in opened if not socket.closed]
    for socket in sockets:
        socket.close(linger=0)
    processes = children() - before
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    assert not sockets, "the test left ZeroMQ sockets open"
    assert not processes, "the test left child processes behind"


def _watch_sockets(patch: pytest.MonkeyPatch) -> WeakSet[zmq.Socket]:
    """The sockets opened from now on."""
    opened: WeakSet[zmq.Socket] = WeakSet()
    initialise = zmq.Socket.__init__

    def initialise_and_note(socket: zmq.Socket, *args: object, **options: object) -> None:
        initialise(socket, *args, **options)
        opened.add(socket)

    patch.setattr(zmq.Socket, "__init__", initialise_and_note)
    return opened


def children() -> set[int]:
    """Ids of our child processes, without multiprocessing's own helper, which stays (Linux)."""
    lists = Path("/proc/self/task").glob("*/children")
    pids = {int(pid) for children in lists for pid in children.read_text().split()}
    return pids - {resource_tracker._resource_tracker._pid}


@pytest.fixture
def complaint(capsys):
    """Runs a command that must fail; returns the one line it says on stderr."""

    def run(*arguments: str | Path) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        stderr = capsys.readouterr().err.strip()
        assert stderr.startswith("lapwing: ")
        assert "\n" not in stderr
        assert "Traceback" not in stderr
        return stderr

    return run
