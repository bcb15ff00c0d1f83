"""Asking the kernel to treat the control loop as what it is: the one thing on this machine that cannot wait."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

PRIORITY = 50  # of 1 to 99: above all ordinary programs, and equal to the kernel's own interrupt threads
WATCHDOG = PRIORITY + 1  # of what stops a car whose loop spins: it must get the core even then
MCL_CURRENT, MCL_FUTURE = 1, 2  # all memory that is there, and all that comes (mlockall(2))


@contextmanager
def realtime(priority: int = PRIORITY) -> Iterator[list[str]]:
    """Run what is inside before everything else, with its memory locked; yields what was not permitted, and why.

    It is for this thread alone; what is started meanwhile, processes and threads, is ordinary.
    """
    denied = [what for what in (_scheduled(priority), _locked()) if what]
    try:
        yield denied
    finally:
        _ordinary()


def sockets_too(context: zmq.Context) -> None:
    """If this thread runs before everything else, so do libzmq's for this context, whose first socket is yet to be."""
    if _is_first():
        context.set(zmq.THREAD_SCHED_POLICY, os.SCHED_FIFO)
        context.set(zmq.THREAD_PRIORITY, PRIORITY)
        context.set(zmq.THREAD_AFFINITY_CPU_ADD, _core())


@contextmanager
def pinned() -> Iterator[None]:
    """Keep this thread, if it runs before everything else, on the core where libzmq's threads are then.

    A control loop, libzmq and a policy server work by turns; on one core none must be woken from its sleep, which takes
    longer than what it does then. Threads and processes that are started inside are kept there too.
    """
    everywhere = os.sched_getaffinity(0)
    if _is_first():
        os.sched_setaffinity(0, {_core()})
    try:
        yield
    finally:
        os.sched_setaffinity(0, everywhere)


def _is_first() -> bool:
    return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO


def _core() -> int:
    """The last one that we may use, the same for all; `taskset` says which those are."""
    return max(os.sched_getaffinity(0))


def _scheduled(priority: int) -> str | None:
    """A loop gets its priority only where its watchdog may have the one above: else it could starve that."""
    try:
        for asked in (WATCHDOG, priority):
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(asked))
    except OSError as error:
        return f"SCHED_FIFO ({error.strerror}; allow it by `ulimit -r {WATCHDOG}` or CAP_SYS_NICE)"
    return None


def _ordinary() -> None:
    libc = ctypes.CDLL(None)
    libc.munlockall()
    # by libc, which may have kept what was asked for before and hand it down to new threads: libzmq's would abort
    libc.pthread_self.restype = ctypes.c_void_p
    libc.pthread_setschedparam(ctypes.c_void_p(libc.pthread_self()), os.SCHED_OTHER, ctypes.byref(ctypes.c_int(0)))


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
