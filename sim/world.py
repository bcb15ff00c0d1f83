"""A road, a car on it and a camera in the car: PyBullet's lifetime, one control period at a time."""

import math
from pkgutil import resolve_name
from typing import NamedTuple

import numpy as np
import pybullet

from sim.car import Car
from sim.renderers import RENDERERS, Renderer
from sim.renderers.chase import ChaseView
from sim.road import Road
from sim.spec import CONTROL_PERIOD_S, VehicleSpec
from sim.surface import draw_surface


class Track(NamedTuple):
    """Where the car is on its lane; left and counter-clockwise are positive."""

    distance_m: float
    lateral_offset_m: float
    heading_error_rad: float
    curvature_1pm: float


class World:
    """One car on one road; whoever owns it closes it.

    Actions are (steering, speed set-point) in [-1, 1]: left positive, −1 = stand still, +1 = top speed.
    """

    substep_s = 1 / 60  # a turn's radius is within 1 % of the bicycle model's, see tests/sim/test_car.py

    def __init__(self, road: Road, vehicle: VehicleSpec, renderer: str = "planar") -> None:
        self.vehicle = vehicle
        self._renderer_type = resolve_name(RENDERERS[renderer])
        self.client = pybullet.connect(pybullet.DIRECT)
        pybullet.setGravity(0, 0, -9.81, self.client)
        pybullet.setPhysicsEngineParameter(
            fixedTimeStep=self.substep_s,
            numSolverIterations=10,
            enableConeFriction=0,  # with it turns are 1.5 % too wide, and gentle ones 10 %
            contactBreakingThreshold=0.001,  # m; a wheel that rolls on forgets where it stood
            physicsClientId=self.client,
        )
        _lay_ground(self.client)
        self.car = Car(self.client, vehicle)
        self._lay(road)

    def load(self, road: Road) -> None:
        """Exchange the road and stand the car at its start."""
        self._renderer.close()
        self._lay(road)

    def _lay(self, road: Road) -> None:
        self.road = road
        self.surface = draw_surface(road)
        self._renderer: Renderer = self._renderer_type(self.surface, self.vehicle.camera)
        self._chase: ChaseView | None = None
        self.place()

    def place(self, distance_m: float = 0.0, lateral_offset_m: float = 0.0, heading_error_rad: float = 0.0) -> None:
        """Stand the car at rest on the lane, wheels straight; nothing of before is remembered."""
        x, y, yaw = self.road.pose(distance_m, lateral_offset_m)
        self.car.place(x, y, yaw + heading_error_rad)
        self.executed = np.array([0.0, -1.0], np.float32)
        self._near = self.road.index(distance_m)
        self._measure()

    def command(self, action: np.ndarray) -> np.ndarray:
        """Set the motors' targets for one control period.

        action: (2,), clipped to [-1, 1]. Returns the action that the motors really got, after the steering's
        rate limit, (2,) float32.
        """
        steering, speed = np.clip(action, -1.0, 1.0)
        vehicle = self.vehicle
        reach = vehicle.max_steering_rate_radps * CONTROL_PERIOD_S / vehicle.max_steering_rad
        steering = np.clip(steering, self.executed[0] - reach, self.executed[0] + reach)
        self.executed = np.array([steering, speed], np.float32)
        speed_mps = (float(speed) + 1) / 2 * vehicle.top_speed_mps
        self.car.follow(float(steering) * vehicle.max_steering_rad, speed_mps)
        return self.executed

    def brake(self) -> None:
        """Bring the car to rest with its steering held, until the next command."""
        self.executed = np.array([self.executed[0], -1.0], np.float32)
        self.car.follow(float(self.executed[0]) * self.vehicle.max_steering_rad, 0.0)

    def advance(self, duration_s: float) -> None:
        """Let that much time pass, in whole substeps."""
        for _ in range(round(duration_s / self.substep_s)):
            pybullet.stepSimulation(self.client)
        self._measure()

    def _measure(self) -> None:
        self.pose = self.car.pose
        self.speed_mps = self.car.speed_mps
        self.steering_rad = self.car.steering_rad
        x, y, yaw = self.pose
        self._near, distance, offset = self.road.locate(x, y, self._near)
        error = math.remainder(yaw - self.road.yaw_rad[self._near], 2 * math.pi)
        self.track = Track(distance, offset, error, float(self.road.curvature_1pm[self._near]))

    @property
    def disengagement(self) -> str | None:
        """Why a safety driver would take over now: a wheel has crossed the edge of the lane."""
        outermost_m = max(abs(offset_m) for offset_m in self._wheel_offsets_m())
        return "off lane" if outermost_m > self.road.lane.width_m / 2 else None

    def _wheel_offsets_m(self) -> list[float]:
        """How far left of the lane's centre each wheel stands; the lane leaves its tangent by κs²/2."""
        _, offset, error, curvature = self.track
        cos, sin = math.cos(error), math.sin(error)
        x, y = self.vehicle.wheelbase_m / 2, self.vehicle.track_m / 2
        wheels = [(x, y), (x, -y), (-x, y), (-x, -y)]
        return [offset + a * sin + b * cos - curvature * (a * cos - b * sin) ** 2 / 2 for a, b in wheels]

    @property
    def finished(self) -> bool:
        """True at the end of the route."""
        return self.track.distance_m >= self.road.length_m

    def image(self) -> np.ndarray:
        """What the car's camera sees, (height, width, 3) uint8 RGB."""
        return self._renderer.render(self.pose)

    def chase(self, camera_image: np.ndarray) -> np.ndarray:
        """A picture for people: the car from behind, its camera image and the map; (h, w, 3) uint8 RGB."""
        if self._chase is None:
            self._chase = ChaseView(self.surface, self.road, self.vehicle)
        return self._chase.render(self.pose, camera_image)

    def close(self) -> None:
        """Free the renderer and PyBullet; closing twice is harmless."""
        if pybullet.isConnected(self.client):
            self._renderer.close()
            pybullet.disconnect(self.client)


def _lay_ground(client: int) -> None:
    """An endless plane to drive on."""
    plane = pybullet.createCollisionShape(pybullet.GEOM_PLANE, physicsClientId=client)
    ground = pybullet.createMultiBody(0, plane, physicsClientId=client)
    pybullet.changeDynamics(ground, -1, lateralFriction=1.0, physicsClientId=client)
