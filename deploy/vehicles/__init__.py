"""Vehicles that a policy can drive: what each of them promises, and the table of those we have.

A new vehicle is one new file and one line in `VEHICLES`.
"""

from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deploy.driving.safety import Command

# Name on the command line -> class, called with the route (road_seed, length_m), which a real car ignores, and with
# what it has keywords for of a `CarConfig`. A simulated one may be called with a third number too: how many times
# faster than real time its time passes.
VEHICLES = {
    "simulated": "deploy.vehicles.simulated:SimulatedCar",
    "pwm": "deploy.vehicles.pwm:PwmCar",
}

LONGEST_COMMAND_S = 0.5  # that a command may last; a car that hears nothing drives 1.4 m in it at 10 km/h


@dataclass(frozen=True)
class CarConfig:
    """What one vehicle or the other can be told beside the route."""

    sensor_delay_s: float = 0.0  # until a frame of the simulated car arrives, stamped with when it was taken
    actuator_delay_s: float = 0.0  # until a command acts on the simulated car, and its expiry does
    calibration: Path = Path("car.toml")  # of the pwm car, see docs/vehicles.md


@dataclass(frozen=True)
class VehicleSpec:
    """What a policy must have been trained for to drive this vehicle."""

    image_height: int  # pixels
    image_width: int  # pixels
    top_speed_mps: float  # speed at set-point +1
    max_steering_rad: float  # angle of the front wheels at steering +1 (left)
    max_steering_rate_radps: float  # how fast the front wheels may turn


@dataclass(frozen=True)
class Truth:
    """What only a simulated car knows of itself; a real one has None instead."""

    x_m: float
    y_m: float
    yaw_rad: float
    distance_m: float  # along the lane, from the start of the road
    lateral_offset_m: float  # from the lane's centre, left positive
    disengagement: str | None  # why a safety driver would have taken over, None while all is well
    finished: bool  # the end of the route is reached
    edge_m: float | None = None  # how far all wheels are inside the lane, negative beyond; None in older logs


@dataclass(frozen=True)
class Frame:
    """What the vehicle sees and measures at one moment."""

    image: NDArray[np.uint8]  # (height, width, 3) RGB
    speed_mps: float
    steering_rad: float  # left positive
    captured_at_s: float  # time.monotonic()
    truth: Truth | None


class Vehicle(Protocol):
    """A car with a camera that comes to rest by itself when nobody commands it."""

    @property
    def spec(self) -> VehicleSpec: ...

    def read(self) -> Frame:
        """Take a camera image and the measurements that belong to it, now."""
        ...

    def send(self, command: Command) -> NDArray[np.float32]:
        """Steer and drive until `command.expires_at_s`, then brake to rest unless a new command came.

        Returns what the motors really received: (2,) steering and speed set-point in [-1, 1].
        """
        ...

    def picture(self) -> NDArray[np.uint8]:
        """A picture of the drive for the video, (height, width, 3) RGB."""
        ...

    def close(self) -> None:
        """Bring the vehicle to rest and let go of it."""
        ...


@runtime_checkable
class Movable(Vehicle, Protocol):
    """A simulated car: a real one is put back by people."""

    def put_back(self, distance_m: float) -> None:
        """Stand the car in its lane, so far along the route; nobody commands it then."""
        ...


@runtime_checkable
class Mapped(Vehicle, Protocol):
    """A car whose road is known."""

    def lane(self) -> list[NDArray[np.float64]]:
        """The edges of its lane from above, each (points, 2) in m, where `Truth` says the car is."""
        ...


class VehicleError(Exception):
    """There is no such vehicle, or it cannot do what is asked for."""

    exit_code = 2


def open_vehicle(
    name: str, road_seed: int, length_m: float, speed: float = 1.0, config: CarConfig = CarConfig()
) -> Vehicle:
    """The vehicle of that name; speed: times real time.

    Raises VehicleError where there is none, or none that can have such a speed or config.
    """
    if name not in VEHICLES:
        raise VehicleError(f"vehicle {name} is unknown; expected one of {', '.join(VEHICLES)}")
    vehicle = resolve_name(VEHICLES[name])
    told = _told(name, vehicle, config)
    if speed == 1:
        return vehicle(road_seed, length_m, **told)
    if not hasattr(vehicle, "put_back"):  # it is a real one
        raise VehicleError(f"vehicle {name} drives in real time; speed is {speed:g}, expected 1")
    return vehicle(road_seed, length_m, speed, **told)


def _told(name: str, vehicle: Any, config: CarConfig) -> dict[str, Any]:
    """What of the config differs from the default, if the vehicle has keywords for it."""
    default, known = vars(CarConfig()), signature(vehicle).parameters
    told = {field: value for field, value in vars(config).items() if value != default[field]}
    for field, value in told.items():
        if field not in known:
            raise VehicleError(f"vehicle {name} has no {field}; expected the default, {default[field]}")
        if field.endswith("_s") and not value >= 0:
            raise VehicleError(f"{field} is {value}; expected a time of at least 0")
    return told
