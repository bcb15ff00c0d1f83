"""The simulated car, driven in real time: its world goes on whether or not anybody commands it."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deploy.safety import Command
from deploy.vehicles import Frame, Truth, VehicleSpec
from sim.road import make_road
from sim.vehicles import load_vehicle
from sim.world import World

MAX_STALL_S = 10.0  # of a longer pause no more is simulated: the car stands by then


class SimulatedCar:
    """The city car on a procedural road, see `deploy.vehicles.Vehicle`."""

    def __init__(self, road_seed: int, length_m: float, clock: Callable[[], float] = time.monotonic):
        vehicle = load_vehicle("city_car")
        self.spec = VehicleSpec(
            image_height=vehicle.camera.height_px,
            image_width=vehicle.camera.width_px,
            top_speed_mps=vehicle.top_speed_mps,
            max_steering_rad=vehicle.max_steering_rad,
            max_steering_rate_radps=vehicle.max_steering_rate_radps,
        )
        self._world = World(make_road(road_seed, length_m), vehicle)
        self._image = self._world.image()
        self._clock = clock
        self._simulated_until_s = self._expires_at_s = clock()

    def read(self) -> Frame:
        """What the camera sees and the car measures now; `truth` is what only the world knows."""
        now_s = self._clock()
        self._catch_up(now_s)
        world = self._world
        self._image = world.image()
        return Frame(self._image, world.speed_mps, world.steering_rad, now_s, self._truth())

    def send(self, command: Command) -> NDArray[np.float32]:
        """Drive by `command` from now until it expires, then brake; returns the executed action, (2,)."""
        self._catch_up(self._clock())
        self._expires_at_s = command.expires_at_s
        return self._world.command(np.array([command.steering, command.speed], np.float32))

    def picture(self) -> NDArray[np.uint8]:
        """The car from behind, beside what its camera saw last, (height, width, 3) RGB."""
        return self._world.chase(self._image)

    def close(self) -> None:
        self._world.close()

    def _catch_up(self, now_s: float) -> None:
        """Simulate up to now, braking from the moment the last command expired; part of a substep waits."""
        substep_s = self._world.substep_s
        steps = int((now_s - self._simulated_until_s) / substep_s)
        driven = min(max(int((self._expires_at_s - self._simulated_until_s) / substep_s), 0), steps)
        self._simulated_until_s += steps * substep_s
        self._world.advance(driven * substep_s)
        if driven < steps:
            self._world.brake()
            self._world.advance(min((steps - driven) * substep_s, MAX_STALL_S))

    def _truth(self) -> Truth:
        world = self._world
        x_m, y_m, yaw_rad = world.pose
        return Truth(
            x_m=x_m,
            y_m=y_m,
            yaw_rad=yaw_rad,
            distance_m=world.track.distance_m,
            lateral_offset_m=world.track.lateral_offset_m,
            disengagement=world.disengagement,
            finished=world.finished,
        )
