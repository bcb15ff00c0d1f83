"""What the world is made of, as data in SI units: camera, vehicle, lane (REP 103: x forward, y left)."""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CameraSpec:
    """A pinhole camera fixed to the car's middle line, looking forward and down."""

    width_px: int = 64
    height_px: int = 64
    fov_rad: float = math.radians(80)  # horizontal field of view
    x_m: float = 0.7  # ahead of the car's centre, above the bonnet
    height_m: float = 1.3  # above the road
    pitch_rad: float = math.radians(20)  # downwards
    yaw_rad: float = 0.0  # to the left

    @property
    def focal_px(self) -> float:
        """Focal length in pixels; pixels are square."""
        return self.width_px / 2 / math.tan(self.fov_rad / 2)


@dataclass(frozen=True)
class VehicleSpec:
    """A car with Ackermann steering and rear drive; its pose is the middle of its four wheels."""

    name: str
    scale: float  # of the world that it drives in: roads and everything on them are so many times full size
    wheelbase_m: float
    track_m: float  # between the wheels of an axle
    wheel_radius_m: float
    length_m: float
    width_m: float
    height_m: float
    mass_kg: float
    tyre_friction: float  # Coulomb coefficient
    top_speed_mps: float
    max_acceleration_mps2: float
    max_braking_mps2: float
    max_steering_rad: float  # of the bicycle model's front wheel, either way
    max_steering_rate_radps: float
    camera: CameraSpec = field(default_factory=CameraSpec)

    @property
    def least_radius_m(self) -> float:
        """Of its tightest turn: L / tan δ, the bicycle model's."""
        return self.wheelbase_m / math.tan(self.max_steering_rad)


@dataclass(frozen=True)
class LaneSpec:
    """How a road is laid out, at full size."""

    width_m: float = 3.0  # of one lane
    lanes: int = 1  # side by side; the car keeps to the rightmost
    min_radius_m: float = 14.0  # of the tightest bend


CONTROL_PERIOD_S = 0.1  # 10 Hz
