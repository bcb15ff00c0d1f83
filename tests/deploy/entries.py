"""Ticks of drives that can be worked out by hand, and logs of them."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from deploy.driving.safety import Command, Inputs, Limits, Memory
from deploy.log.entries import DriveFacts, Entry
from deploy.log.writer import DriveLog
from tests.deploy.policies import SPEC

PERIOD_S = 0.1
STARTED_AT_NS = 1_700_000_000_000_000_000
FACTS = DriveFacts(
    lapwing="0.0.test",
    config={"vehicle": "simulated", "policy": None},
    spec=SPEC,
    policy_id="abc",
    limits=Limits(SPEC.max_steering_rad, SPEC.max_steering_rate_radps),
    start=Memory.standing(0.0, armed=True),
    started_at_ns=STARTED_AT_NS,
)


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


def image(tick: int) -> np.ndarray:
    """What the camera saw in that tick: noise, of which compression makes nothing."""
    return np.random.default_rng(tick).integers(0, 256, (SPEC.image_height, SPEC.image_width, 3), np.uint8)


def write_log(folder: Path, entries: Sequence[Entry], facts: DriveFacts = FACTS) -> Path:
    """A whole log of these ticks, `image` being what was seen."""
    with DriveLog(folder, facts) as log:
        for each in entries:
            log.write(each, image(each.tick))
    return log.path
