"""Our actions as the fields of ROS's `ackermann_msgs/AckermannDrive`, and back; nothing of ROS is needed for it.

Both sides are in SI units with left positive (REP 103). What differs: an action says parts of what the car can do, the
message says rad and m/s; an action cannot ask for reverse; a `Command` expires by itself, the message does not, so its
receiver must stop on silence.
"""

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple, Protocol

Action = tuple[float, float]  # steering (left +1) and speed set-point (-1 = stand still, +1 = top speed)


class Car(Protocol):
    """What of the car must be known: a `VehicleSpec` or a `PolicySpec`."""

    @property
    def top_speed_mps(self) -> float: ...

    @property
    def max_steering_rad(self) -> float: ...

    @property
    def max_steering_rate_radps(self) -> float: ...


class AckermannDrive(NamedTuple):
    """The fields of `drive` in `ackermann_msgs/AckermannDriveStamped`, by their names there."""

    steering_angle: float = 0.0  # rad, of the virtual wheel in the middle of the front axle, left positive
    steering_angle_velocity: float = 0.0  # rad/s, at most; 0 = as fast as the car can
    speed: float = 0.0  # m/s, forward positive
    acceleration: float = 0.0  # m/s², at most; 0 = as fast as the car can
    jerk: float = 0.0  # m/s³, at most; 0 = as the car likes


def to_ackermann(action: Sequence[float], car: Car, acceleration_mps2: float = 0.0) -> AckermannDrive:
    """The drive message for an action, of which steering and speed are in [-1, 1].

    acceleration_mps2: at most, 0 for what the car can. Raises ValueError for any other action: what the safety machine
    lets through is in range.
    """
    if len(action) != 2 or not all(isfinite(a) and -1 <= a <= 1 for a in action):
        raise ValueError(f"action is {tuple(action)}; expected steering and speed in [-1, 1]")
    steering, speed = action
    return AckermannDrive(
        steering_angle=steering * car.max_steering_rad,
        steering_angle_velocity=car.max_steering_rate_radps,
        speed=(speed + 1) / 2 * car.top_speed_mps,
        acceleration=acceleration_mps2,
    )


def from_ackermann(drive: AckermannDrive, car: Car) -> Action:
    """The action that comes nearest to a drive message: more than the car can is its most, reverse is standing.

    Raises ValueError if angle or speed is not finite.
    """
    if not (isfinite(drive.steering_angle) and isfinite(drive.speed)):
        raise ValueError(f"drive has steering_angle {drive.steering_angle} and speed {drive.speed}; expected numbers")
    steering = drive.steering_angle / car.max_steering_rad
    speed = 2 * drive.speed / car.top_speed_mps - 1
    return min(max(steering, -1.0), 1.0), min(max(speed, -1.0), 1.0)
