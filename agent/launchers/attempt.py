"""One attempt at a trial: `lapwing train` in a process of its own, and in the trial's folder what came of it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from agent.snapshot_folder import CHECKPOINTS, snapshots
from perception.files import alone_in, write_whole

LOG, ENDED = "train.log", "ended.json"  # files in a trial's folder


class LaunchError(RuntimeError):
    """There is no such cluster, or nothing to reach it with; or what an attempt left cannot be read."""

    exit_code = 2


class Order(NamedTuple):
    """What a launcher must know of a trial."""

    name: str
    folder: Path  # absolute
    arguments: list[str]  # of `lapwing train`, but for --resume
    cwd: Path  # that paths among them start from


class Ended(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the latest attempt at a trial ended."""

    exit_code: int  # of `lapwing train`; −n when signal n killed it
    seconds: float  # that this attempt took and all before it


class Attempt:
    """The process, from the trial's newest checkpoint where there is one, else from nothing.

    It leads a process group of its own, so that Ctrl-C in the terminal reaches only who launched it. Raises
    FolderInUseError while another process writes to the trial's folder.
    """

    def __init__(self, order: Order) -> None:
        self.folder = order.folder
        resume = ["--resume"] if snapshots(order.folder / CHECKPOINTS) else []
        if not resume:
            _empty(order.folder)
        self._before_s = ended.seconds if (ended := read_ended(order.folder)) else 0.0
        self._began = time.monotonic()
        command = [sys.executable, "-m", "lapwing", "train", *order.arguments, *resume]
        with (order.folder / LOG).open("ab") as log, _Unblocked():
            self._process = subprocess.Popen(
                command,
                cwd=order.cwd,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def over(self) -> bool:
        """True when the process has ended; how stands in the folder then."""
        if (exit_code := self._process.poll()) is None:
            return False
        ended = Ended(exit_code, self._before_s + time.monotonic() - self._began)
        write_whole(self.folder / ENDED, msgspec.json.encode(ended))
        return True

    def interrupt(self) -> None:
        """Let it save and end."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it now, with the processes that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def read_ended(folder: Path) -> Ended | None:
    """How the latest attempt ended; None when there was none, or nobody saw its end. Raises LaunchError for junk."""
    file = folder / ENDED
    try:
        return msgspec.json.decode(file.read_bytes(), type=Ended) if file.exists() else None
    except msgspec.DecodeError as error:
        raise LaunchError(
            f"{file}: damaged ({error}); expected what `lapwing sweep` writes, or no such file"
        ) from error


def _empty(folder: Path) -> None:
    """Make the folder and remove what an attempt without a checkpoint left in it."""
    with alone_in(folder):
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


class _Unblocked:
    """Lets SIGINT through while a child is started: Ray blocks it in its workers, and children inherit that."""

    def __enter__(self) -> None:
        self._mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
