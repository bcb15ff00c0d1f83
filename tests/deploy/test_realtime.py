"""The kernel is asked for what a control loop needs, and is told to forget it afterwards; a no is said."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.realtime import PRIORITY, WATCHDOG, Steal, pinned, realtime

ROOT = Path(__file__).parents[2]
ASK = "import os; from deploy.realtime import realtime\nwith realtime() as denied: print(denied)"


def test_inside_the_loop_comes_before_all_else_if_that_is_permitted_and_outside_it_does_not():
    with realtime() as denied:
        scheduled = os.sched_getscheduler(0) == os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        assert scheduled != any("SCHED_FIFO" in what for what in denied)
        assert not scheduled or os.sched_getparam(0).sched_priority == PRIORITY
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_a_watchdog_comes_before_the_loop_that_it_watches():
    with realtime(WATCHDOG) as denied:
        assert denied or os.sched_getparam(0).sched_priority == 51
    assert (PRIORITY, WATCHDOG) == (50, 51)


@pytest.mark.parametrize(("allowed", "granted"), [(49, None), (50, None), (51, 50)])
def test_a_loop_is_not_put_first_where_its_watchdog_could_not_be_put_above_it(monkeypatch, allowed, granted):
    priorities = []

    def kernel(_pid: int, _policy: int, param: os.sched_param) -> None:
        if param.sched_priority > allowed:
            raise PermissionError(1, "Operation not permitted")
        priorities.append(param.sched_priority)

    monkeypatch.setattr(os, "sched_setscheduler", kernel)
    with realtime() as denied:
        assert any("SCHED_FIFO" in what for what in denied) == (granted is None)
    assert (priorities or [None])[-1] == granted


def test_what_comes_before_all_else_stays_on_the_last_core_and_nothing_else_does():
    allowed = os.sched_getaffinity(0)
    with pinned():
        assert os.sched_getaffinity(0) == allowed
    with realtime():
        permitted = os.sched_getscheduler(0) != os.SCHED_OTHER
        with pinned():
            assert os.sched_getaffinity(0) == ({max(allowed)} if permitted else allowed)
        assert os.sched_getaffinity(0) == allowed


def test_who_is_not_permitted_is_told_what_is_missing_and_how_to_allow_it():
    def be_limited() -> None:
        for limit in (resource.RLIMIT_RTPRIO, resource.RLIMIT_MEMLOCK):
            resource.setrlimit(limit, (0, 0))

    powerless = ["setpriv", "--bounding-set=-sys_nice,-ipc_lock"] if os.getuid() == 0 else []
    command = [*powerless, sys.executable, "-c", ASK]
    told = subprocess.run(command, cwd=ROOT, preexec_fn=be_limited, capture_output=True, text=True)
    assert "SCHED_FIFO (Operation not permitted; allow it by `ulimit -r 51` or CAP_SYS_NICE)" in told.stdout
    assert "locked memory" in told.stdout


def test_what_the_hypervisor_takes_is_counted_once():
    steal = Steal()
    assert all(steal.since_last_ms() >= 0 for _ in range(3))
    steal.close()


def test_the_kernels_line_is_read_where_steal_stands(monkeypatch):
    lines = [b"cpu  1 2 3 4 5 6 7 80 9 10\n", b"cpu  1 2 3 4 5 6 7 83 9 10\n"]
    steal = Steal()
    monkeypatch.setattr(os, "pread", lambda *_: lines.pop(0))
    steal.since_last_ms()
    assert steal.since_last_ms() == pytest.approx(3 * 1e3 / os.sysconf("SC_CLK_TCK"))
    steal.close()
