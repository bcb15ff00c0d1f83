"""A scene come alive in PyBullet: a car on its road, the things around it and its camera."""

import math
import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pybullet

from sim.camera import Camera
from sim.car import Car, lay_ground
from sim.dynamics import Actuation
from sim.effects import Motion
from sim.obstacles import Traffic
from sim.renderers.bullet import lay_ribbon
from sim.renderers.chase import ChaseView
from sim.scene import Scene
from sim.spec import CONTROL_PERIOD_S, VehicleSpec
from sim.surface import draw_surface
from sim.window import WindowError

OVERSPEED = 1.1  # times the top speed, beyond which a safety driver brakes


class Track(NamedTuple):
    """Where the car is on its lane; left and counter-clockwise are positive."""

    distance_m: float
    lateral_offset_m: float
    heading_error_rad: float
    curvature_1pm: float


class World:
    """One car on one road; whoever owns it closes it.

    Actions are (steering, speed set-point) in [-1, 1]: left positive, −1 = stand still, +1 = top speed.
    renderer: a name in sim.renderers.RENDERERS; window: show PyBullet's own, which needs a screen.
    """

    def __init__(self, scene: Scene, renderer: str = "planar", window: bool = False) -> None:
        self._renderer, self._window = renderer, window
        if window and not _has_screen():
            raise WindowError("PyBullet's window needs a screen, but DISPLAY names none")  # it would end the process
        self.client = pybullet.connect(pybullet.GUI if window else pybullet.DIRECT)
        ground = lay_ground(self.client)
        if window:
            self._tidy_window(ground)
        self.car = Car(self.client, scene.vehicle)
        self.traffic = Traffic(self.client)
        self._furnish(scene)
        self.place()

    def _tidy_window(self, ground: int) -> None:
        """Show neither panels nor the plane's chequers, which would shine through the road."""
        pybullet.configureDebugVisualizer(pybullet.COV_ENABLE_GUI, 0, physicsClientId=self.client)
        pybullet.changeVisualShape(ground, -1, rgbaColor=[0, 0, 0, 0], physicsClientId=self.client)

    @property
    def vehicle(self) -> VehicleSpec:
        """The car as it is in this scene."""
        return self.scene.vehicle

    def load(self, scene: Scene) -> None:
        """Exchange the scene, unless it is the same, and stand the car at its start."""
        if scene != self.scene:
            self._clear()
            self.car.respec(scene.vehicle)
            self._furnish(scene)
        self.place()

    def _furnish(self, scene: Scene) -> None:
        self.scene, self.road = scene, scene.road
        self.surface = draw_surface(scene.road, scene.look)
        self.camera = Camera(self.surface, scene, self._renderer)
        self.traffic.lay(scene.road, scene.obstacles)
        self._actuation = Actuation(scene.dynamics, scene.vehicle, CONTROL_PERIOD_S)
        self._chase: ChaseView | None = None
        self._ribbon = lay_ribbon(self.client, self.surface.strip) if self._window else None

    def _clear(self) -> None:
        self.camera.close()
        if self._ribbon is not None:
            pybullet.removeBody(self._ribbon, self.client)

    def place(self, distance_m: float = 0.0, lateral_offset_m: float = 0.0, heading_error_rad: float = 0.0) -> None:
        """Stand the car at rest on the lane, wheels straight; nothing of before is remembered."""
        x, y, yaw = self.road.pose(distance_m, lateral_offset_m)
        self.traffic.reset(distance_m)
        self.car.place(x, y, yaw + heading_error_rad)
        self.executed = self._actuation.reset()
        self.camera.reset()
        self.frame = 0
        self._near = self.road.index(distance_m)
        self.track = Track(distance_m, 0.0, 0.0, 0.0)  # on a circuit distances are counted on from here
        self._measure()

    def command(self, action: np.ndarray) -> np.ndarray:
        """Set the motors' targets for one control period.

        action: (2,), clipped to [-1, 1]. Returns the action that the motors really got, after the actuation's
        delay and the steering's rate limit, (2,) float32.
        """
        self.executed, steering_rad, speed_mps = self._actuation.command(action)
        self.car.follow(steering_rad, speed_mps)
        return self.executed

    def brake(self) -> None:
        """Bring the car to rest with its steering held, until the next command."""
        self.executed, steering_rad, speed_mps = self._actuation.brake()
        self.car.follow(steering_rad, speed_mps)

    def advance(self, duration_s: float) -> None:
        """Let that much time pass, in whole substeps of sim.car.SUBSTEP_S."""
        self.traffic.advance(duration_s)
        self.car.advance(duration_s)
        self._measure()

    def _measure(self) -> None:
        x, y, yaw, self.speed_mps, steering_rad, self.yaw_rate_radps = self.car.measured
        self.steering_rad = steering_rad - self.scene.dynamics.steering_offset_rad  # of which the car knows nothing
        road = self.road
        self.pose = x, y, yaw
        self._near, distance, offset = road.locate(x, y, self._near)
        if road.closed:
            distance = self.track.distance_m + math.remainder(distance - self.track.distance_m, road.length_m)
        error = math.remainder(yaw - road.heading_at(distance), 2 * math.pi)
        self.track = Track(distance, offset, error, road.curvature_at(distance))

    def curvature_ahead(self, ahead_m: float) -> float:
        """The lane's curvature that far ahead, in 1/m, left positive."""
        return self.road.curvature_at(self.track.distance_m + ahead_m)

    @property
    def disengagement(self) -> str | None:
        """Why a safety driver would take over now; None while all is well."""
        if self.traffic.touching(self.car.body):
            return "collision"
        if abs(self.track.heading_error_rad) > math.pi / 2:
            return "wrong way"
        if self.speed_mps > OVERSPEED * self.vehicle.top_speed_mps:
            return "overspeed"
        return "off lane" if self._off_lane() else None

    def _off_lane(self) -> bool:
        """True when a wheel has crossed an edge of the lane, which leaves its tangent by κs²/2."""
        _, offset, _, curvature = self.track
        left_m, right_m = self.road.left_m[self._near], self.road.right_m[self._near]
        x, y = self.vehicle.wheelbase_m / 2, self.vehicle.track_m / 2
        reach = math.hypot(x, y)
        if abs(offset) + reach + abs(curvature) * reach**2 / 2 < min(left_m, right_m):  # however the car stands
            return False
        return self.edge_m < 0

    @property
    def edge_m(self) -> float:
        """How far the outermost wheel is inside the nearer edge of the lane, negative beyond it."""
        _, offset, error, curvature = self.track
        x, y = self.vehicle.wheelbase_m / 2, self.vehicle.track_m / 2
        cos, sin = math.cos(error), math.sin(error)
        wheels = [
            offset + a * sin + b * cos - curvature * (a * cos - b * sin) ** 2 / 2
            for a, b in ((x, y), (x, -y), (-x, y), (-x, -y))
        ]
        left_m, right_m = self.road.left_m[self._near], self.road.right_m[self._near]
        return float(min(left_m - max(wheels), right_m + min(wheels)))

    @property
    def finished(self) -> bool:
        """True at the end of the route; on a circuit, after a lap."""
        return self.track.distance_m >= self.road.length_m

    def capture(self, out: np.ndarray | None = None) -> np.ndarray:
        """Take the camera's next frame, (height, width, 3) uint8 RGB, into `out` if given."""
        motion = Motion(self.pose, self.speed_mps, self.yaw_rate_radps, self.frame)
        self.frame += 1
        return self.camera.capture(motion, self.traffic.solids(), out)

    def chase(self, camera_image: np.ndarray) -> np.ndarray:
        """A picture for people: the car from behind, its camera image and the map; (h, w, 3) uint8 RGB."""
        if self._chase is None:
            self._chase = ChaseView(self.surface, self.vehicle)
        return self._chase.render(self.pose, camera_image, self.traffic.solids())

    def follow_car(self) -> None:
        """Turn the eye of PyBullet's own window to the car, from behind and above."""
        x, y, yaw = self.pose
        pybullet.resetDebugVisualizerCamera(
            cameraDistance=8 * self.road.unit_m,
            cameraYaw=math.degrees(yaw) - 90,
            cameraPitch=-20,
            cameraTargetPosition=[x, y, 0],
            physicsClientId=self.client,
        )

    def close(self) -> None:
        """Free the camera and PyBullet; closing twice is harmless."""
        if pybullet.isConnected(self.client):
            self._clear()
            pybullet.disconnect(self.client)


def _has_screen() -> bool:
    """False where X would not find a screen; of a distant one it is not known."""
    if sys.platform != "linux":
        return True
    host, _, number = os.environ.get("DISPLAY", "").rpartition(":")
    return bool(host) or (number != "" and Path(f"/tmp/.X11-unix/X{number.partition('.')[0]}").exists())
