"""The rate keeper holds an absolute schedule and never catches up."""

import gc
import time
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.clock import RateKeeper, Stalls, Time, no_collections


class Clock:
    """A clock that moves only when somebody sleeps or works."""

    def __init__(self, now_s: float = 100.0, oversleep_s: float = 0.0):
        self.now_s = now_s
        self.oversleep_s = oversleep_s

    def __call__(self) -> float:
        return self.now_s

    def work(self, duration_s: float) -> None:
        self.now_s += duration_s

    def sleep(self, duration_s: float) -> None:
        assert duration_s >= 0
        self.now_s += duration_s + self.oversleep_s


def test_a_start_begins_the_schedule_anew():
    clock = Clock()
    keeper = RateKeeper(0.1, clock, clock.sleep)
    clock.work(2.63)
    keeper.start()
    assert keeper.wait() == pytest.approx(0)
    assert clock.now_s == pytest.approx(102.73)
    assert (keeper.tick, keeper.skipped) == (1, 0)


def test_ticks_keep_to_the_schedule_however_long_the_work_took():
    clock = Clock()
    keeper = RateKeeper(0.1, clock, clock.sleep)
    for work_s, due_s in ((0.03, 100.1), (0.09, 100.2), (0.0, 100.3)):
        clock.work(work_s)
        assert keeper.wait() == pytest.approx(0)
        assert clock.now_s == pytest.approx(due_s)
    assert (keeper.tick, keeper.skipped) == (3, 0)


def test_oversleeping_is_reported_and_does_not_add_up():
    clock = Clock(oversleep_s=0.004)
    keeper = RateKeeper(0.1, clock, clock.sleep)
    assert [keeper.wait() for _ in range(5)] == pytest.approx([0.004] * 5)
    assert clock.now_s == pytest.approx(100.504)


def test_a_tick_that_is_a_little_late_starts_at_once():
    clock = Clock()
    keeper = RateKeeper(0.1, clock, clock.sleep)
    clock.work(0.14)
    assert keeper.wait() == pytest.approx(0.04)
    assert keeper.tick == 1
    keeper.wait()
    assert clock.now_s == pytest.approx(100.2)


def test_missed_ticks_are_skipped():
    clock = Clock()
    keeper = RateKeeper(0.1, clock, clock.sleep)
    clock.work(0.57)
    assert keeper.wait() == pytest.approx(0)
    assert clock.now_s == pytest.approx(100.6)
    assert (keeper.tick, keeper.skipped) == (6, 5)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_two_ticks_are_never_closer_than_half_a_period(work):
    clock = Clock()
    keeper = RateKeeper(0.1, clock, clock.sleep)
    started_at_s = []
    for duration_s in work:
        clock.work(duration_s)
        keeper.wait()
        started_at_s.append(clock.now_s)
    gaps = [b - a for a, b in pairwise(started_at_s)]
    assert min(gaps) >= 0.05 - 1e-9
    assert keeper.tick == len(started_at_s) + keeper.skipped


def test_the_garbage_collector_rests_in_the_loop_and_works_again_after_it():
    with suppress(KeyboardInterrupt), no_collections():
        assert not gc.isenabled()
        raise KeyboardInterrupt
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_time_passes_as_many_times_faster_as_it_is_told():
    slow, fast = Time(), Time(50.0)
    began_s, fast_began_s = time.monotonic(), fast.now()
    fast.sleep(5.0)
    assert time.monotonic() - began_s >= 0.1
    assert fast.now() - fast_began_s >= 5.0
    assert fast.now() / time.monotonic() == pytest.approx(50.0)
    assert slow.now() == pytest.approx(time.monotonic(), rel=1e-4)


def test_a_stall_is_a_gap_in_what_the_camera_saw_or_in_real_time():
    now = Clock()
    stalls = Stalls(1.0, now=now)
    assert stalls.unseen_s(7.0) == 0  # the first image ever
    now.work(0.9)
    assert stalls.unseen_s(7.9) == 0
    now.work(0.1)
    assert stalls.unseen_s(9.0) == pytest.approx(1.1)  # the camera had stood still
    now.work(60.0)
    assert stalls.unseen_s(9.1) == pytest.approx(60.0)  # the machine slept, and with it the camera's clock
    now.work(0.1)
    assert stalls.unseen_s(9.2) == 0


def test_a_stall_of_a_car_that_is_faster_than_real_time_is_as_long_in_real_time():
    stalls = Stalls(1.0, speed=5.0, now=lambda: 0.0)
    assert [stalls.unseen_s(at_s) for at_s in (0.0, 4.9, 10.0)] == [0, 0, pytest.approx(1.02)]
