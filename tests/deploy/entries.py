"""Ticks of drives that can be worked out by hand."""

import msgspec

from deploy.drive_log import Entry
from deploy.safety import Command, Inputs

PERIOD_S = 0.1


def entry(tick: int, speed_mps: float = 2.0, **changes: object) -> Entry:
    """A tick, at 10 Hz, of a car that drives by a policy whose every answer is (0, 0.5)."""
    now_s = tick * PERIOD_S
    plain = Entry(
        tick=tick,
        t_s=now_s,
        state=[0.0] * 6,
        steering_rad=0.0,
        action=(0.0, 0.5),
        inputs=Inputs(now_s + 0.01, now_s, speed_mps, (0.0, 0.5)),
        safety="driving",
        command=Command(0.0, 0.5, now_s + 0.16),
        sent=(0.0, 0.5),
        round_trip_ms=1.0,
        inference_ms=0.5,
        lateness_ms=0.1,
        truth=None,
    )
    return msgspec.structs.replace(plain, **changes)
