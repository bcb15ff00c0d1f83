"""Asking the kernel to treat the control loop as what it is: the one thing on this machine that cannot wait."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

PRIORITY = 50  # of 1 to 99: above all ordinary programs, and equal to the kernel's own interrupt threads
MCL_CURRENT, MCL_FUTURE = 1, 2  # all memory that is there, and all that comes (mlockall(2))


@contextmanager
def realtime(context: zmq.Context | None = None) -> Iterator[list[str]]:
    """Run what is inside before everything else, with its memory locked; yields what was not permitted, and why.

    It is for this thread and those of the context, whose first socket is yet to be opened; what is started meanwhile,
    processes and threads, is ordinary.
    """
    unscheduled, unlocked = _scheduled(), _locked()
    if context is not None and unscheduled is None:
        context.set(zmq.THREAD_SCHED_POLICY, os.SCHED_FIFO)
        context.set(zmq.THREAD_PRIORITY, PRIORITY)
    try:
        yield [what for what in (unscheduled, unlocked) if what]
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        ctypes.CDLL(None).munlockall()


def _scheduled() -> str | None:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    except OSError as error:
        return f"SCHED_FIFO ({error.strerror}; allow it by `ulimit -r {PRIORITY}` or CAP_SYS_NICE)"
    return None


def _locked() -> str | None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE) != 0:
        return f"locked memory ({os.strerror(ctypes.get_errno())}; allow it by `ulimit -l unlimited` or CAP_IPC_LOCK)"
    return None


class Steal:
    """How long the hypervisor ran somebody else instead of this machine, which no scheduling can prevent (Linux)."""

    def __init__(self) -> None:
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._fd = os.open("/proc/stat", os.O_RDONLY)
        self._before = self._stolen()

    def since_last_ms(self) -> float:
        """Milliseconds since the last call, all cores together; the kernel counts in steps of 10 ms."""
        before, self._before = self._before, self._stolen()
        return (self._before - before) * 1e3 / self._ticks_per_s

    def close(self) -> None:
        os.close(self._fd)

    def _stolen(self) -> int:
        return int(
            os.pread(self._fd, 256, 0).split(maxsplit=9)[8]
        )  # cpu user nice system idle iowait irq softirq steal
