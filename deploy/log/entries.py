"""What happened on a drive: an entry for every tick, and the summary that is worked out from the entries.

`writer.py` and `reader.py` put them into a file and get them back.
"""

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from deploy.driving.controls import Mode
from deploy.driving.faults import Fault
from deploy.driving.safety import Command, Inputs, Limits, Memory, State
from deploy.policy_spec import PolicySpec
from deploy.vehicles import Truth

STOPPED = ("safe_stop", "e_stop")
LATE_MS = 10.0  # a tick that starts later counts as late; a tenth of the control period


class LogError(Exception):
    """A drive log is missing or damaged."""

    exit_code = 2


class Entry(Struct, frozen=True, kw_only=True):
    """One control period: all that came in, and all that went out."""

    tick: int  # ticks that were missed have no entry
    t_s: float  # when the camera image was taken, since the start
    state: list[float]  # the state vector the policy saw
    steering_rad: float
    mode: Mode = "local"
    action: tuple[float, float] | None  # the policy's answer, None if none arrived in time
    hands: tuple[float, float] | None = None  # what the person at the wheel wants
    inputs: Inputs  # of the safety machine
    safety: State  # what it is after them
    command: Command  # and what it says to the vehicle
    sent: tuple[float, float]  # what the motors really received
    round_trip_ms: float | None  # from the question to the answer
    inference_ms: float | None  # the part of it that the network took
    novelty: float | None = None  # of the frame, above 1 for one in a hundred familiar ones; None if nobody can tell
    value: float | None = None  # of the action, as the critic sees it; None if nobody can tell
    policy_id: str | None = None  # whose the answer is; a server may go over to another policy under way
    lateness_ms: float  # how late the tick started
    steal_ms: float = 0.0  # that the hypervisor took from this machine since the last tick, all cores together
    truth: Truth | None  # None on a real car

    @property
    def speed_mps(self) -> float:
        return self.inputs.speed_mps

    @property
    def fault(self) -> Fault | None:
        """Why nobody could drive by this cycle's action, as far as it was known before the safety machine."""
        return self.inputs.fault


class DriveFacts(Struct, frozen=True, kw_only=True):
    """What holds for a whole drive; with it the entries can be replayed."""

    lapwing: str  # version that drove
    config: dict[str, Any]  # the DriveConfig
    spec: PolicySpec  # of the policy
    policy_id: str
    limits: Limits
    start: Memory  # of the safety machine, before the first tick
    started_at_ns: int  # when `t_s` was 0, since 1970 (UTC)


class DriveSummary(Struct, frozen=True, kw_only=True):
    finished: bool  # the end of the route was reached
    disengagement: str | None  # why the drive ended before
    disengagements: int
    distance_m: float
    minutes: float
    mean_speed_mps: float
    ticks: int
    skipped_ticks: int
    late_ticks: int  # started more than 10 ms late
    missed_deadlines: int  # ticks without a valid action in time
    stops: int  # times the car was stopped while it drove
    round_trip_p50_ms: float | None
    round_trip_p99_ms: float | None
    round_trip_max_ms: float | None

    @property
    def succeeded(self) -> bool:
        return self.finished and self.disengagement is None


def summarize(entries: Sequence[Entry]) -> DriveSummary:
    """The figures of a drive, worked out from its log alone."""
    minutes, distance_m = _duration_s(entries) / 60, _distance_m(entries)
    round_trips_ms = [e.round_trip_ms for e in entries if e.round_trip_ms is not None]
    p50, p99, most = np.percentile(round_trips_ms, [50, 99, 100]).tolist() if round_trips_ms else [None] * 3
    truth = entries[-1].truth if entries else None
    disengagement = truth.disengagement if truth else None
    return DriveSummary(
        finished=truth is not None and truth.finished,
        disengagement=disengagement,
        disengagements=int(disengagement is not None),
        distance_m=distance_m,
        minutes=minutes,
        mean_speed_mps=distance_m / (60 * minutes) if minutes else 0.0,
        ticks=len(entries),
        skipped_ticks=entries[-1].tick - entries[0].tick + 1 - len(entries) if entries else 0,
        late_ticks=sum(e.lateness_ms > LATE_MS for e in entries),
        missed_deadlines=sum(e.action is None for e in entries),
        stops=_stops(entries),
        round_trip_p50_ms=p50,
        round_trip_p99_ms=p99,
        round_trip_max_ms=most,
    )


def write_summary(folder: Path, summary: DriveSummary) -> None:
    """Write drive.json beside the log."""
    part = folder / "drive.json.part"
    part.write_bytes(msgspec.json.format(msgspec.json.encode(summary)))
    os.replace(part, folder / "drive.json")


def _duration_s(entries: Sequence[Entry]) -> float:
    return entries[-1].t_s - entries[0].t_s if entries else 0.0


def _distance_m(entries: Sequence[Entry]) -> float:
    """Along the lane where the truth is known, else what the measured speed adds up to (trapezoids)."""
    if entries and entries[0].truth and entries[-1].truth:
        return entries[-1].truth.distance_m - entries[0].truth.distance_m
    return float(np.trapezoid([e.speed_mps for e in entries], [e.t_s for e in entries]))


def _stops(entries: Sequence[Entry]) -> int:
    return sum(now.safety in STOPPED and before.safety not in STOPPED for before, now in pairwise(entries))
