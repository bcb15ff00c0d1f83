"""The summary of a drive is worked out from its ticks alone."""

import dataclasses

import msgspec
import pytest

from deploy.log.entries import Entry, summarize, write_summary
from deploy.vehicles import Truth
from tests.deploy.entries import entry as plain

TRUTH = Truth(0.0, 0.0, 0.0, 0.0, 0.0, None, False)


def entry(tick: int, **changes: object) -> Entry:
    """A tick of a car that drives 2 m/s at 10 Hz, and whose answers take longer and longer."""
    truth = dataclasses.replace(TRUTH, distance_m=5 + 0.2 * tick)
    return plain(tick, **{"truth": truth, "round_trip_ms": float(tick)} | changes)


def test_the_summary_of_a_finished_drive():
    entries = [entry(tick) for tick in range(1, 101)]
    entries[-1] = entry(100, truth=dataclasses.replace(entries[-1].truth, finished=True))
    summary = summarize(entries)
    assert summary.succeeded
    assert summary.distance_m == pytest.approx(19.8)  # 99 periods of 0.2 m
    assert summary.minutes == pytest.approx(9.9 / 60)
    assert summary.mean_speed_mps == pytest.approx(2.0)
    assert (summary.ticks, summary.skipped_ticks, summary.missed_deadlines) == (100, 0, 0)
    assert summary.round_trip_p50_ms == pytest.approx(50.5)
    assert summary.round_trip_max_ms == 100


def test_the_summary_counts_what_went_wrong():
    off_lane = dataclasses.replace(TRUTH, distance_m=6.0, disengagement="off lane")
    silent = {"action": None, "round_trip_ms": None}
    summary = summarize(
        [
            entry(1, safety="safe_stop", **silent),  # before the first action: no stop, it stood
            entry(2, lateness_ms=11.0),
            entry(3, safety="degraded", **silent),
            entry(4, safety="safe_stop", **silent),
            entry(5, safety="safe_stop", **silent),
            entry(9),
            entry(10, safety="safe_stop", **silent),
            entry(11, truth=off_lane),
        ]
    )
    assert not summary.succeeded
    assert (summary.disengagement, summary.disengagements) == ("off lane", 1)
    assert (summary.stops, summary.missed_deadlines) == (2, 5)
    assert (summary.late_ticks, summary.skipped_ticks) == (1, 3)


def test_without_truth_the_distance_is_what_the_speed_adds_up_to():
    summary = summarize([entry(tick, truth=None, speed_mps=0.1 * tick) for tick in range(11)])
    assert summary.distance_m == pytest.approx(0.5)  # ∫ t dt from 0 to 1
    assert not summary.succeeded


def test_a_drive_that_ended_before_its_first_tick_has_a_summary(tmp_path):
    summary = summarize([])
    assert (summary.ticks, summary.distance_m, summary.round_trip_p50_ms) == (0, 0.0, None)
    write_summary(tmp_path, summary)
    assert msgspec.json.decode((tmp_path / "drive.json").read_bytes())["finished"] is False
    assert [path.name for path in tmp_path.iterdir()] == ["drive.json"]
