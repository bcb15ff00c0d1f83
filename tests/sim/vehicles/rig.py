"""A car on an endless plane, and drives of it."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pybullet

from sim.car import Car, lay_ground
from sim.spec import CONTROL_PERIOD_S, VehicleSpec


@contextmanager
def on_plane(spec: VehicleSpec) -> Iterator[Car]:
    client = pybullet.connect(pybullet.DIRECT)
    try:
        lay_ground(client)
        yield Car(client, spec)
    finally:
        pybullet.disconnect(client)


def drive(car: Car, steering: float, speed: float, steps: int, period_s: float = CONTROL_PERIOD_S) -> np.ndarray:
    """What is measured after each period, (steps, 6); steering and speed as parts of the largest."""
    car.follow(steering * car.spec.max_steering_rad, speed * car.spec.top_speed_mps)
    return np.array([car.advance(period_s) for _ in range(steps)])
