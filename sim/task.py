"""The task of keeping to a lane: where an episode starts, what a step is worth and what ends it."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from gymnasium.spaces import Box, Dict

from sim.renderers import RENDERERS
from sim.scenario import ScenarioError, load_scenario
from sim.scene import HELD_IN, HELD_OUT, draw_road, draw_scene
from sim.spec import CONTROL_PERIOD_S, CameraSpec
from sim.vehicles import load_vehicle
from sim.world import World

ROADS = {"fixed": None, "held_in": HELD_IN, "held_out": HELD_OUT}
AHEAD_M = (2.0, 5.0, 10.0)  # where info tells the lane's curvature, at full size
MEASURES = ("distance_m", "lateral_offset_m", "heading_error_rad", "curvature_1pm", "x_m", "y_m", "yaw_rad")
START_OFFSET_M = 0.6  # random starts lie within this of the lane's centre, at full size, …
START_ERROR_RAD = 0.2  # … and of its heading
ROOM_M = 6.0  # between a start and what stands on the road, at full size; things are 12 m apart
STUCK_S, STUCK_M = 5.0, 0.25  # who comes less far in that time, at full size, is stuck


class LaneTask:
    """One car's episodes, one after another; the environments are this for one car and for many.

    The reward of a step is the progress along the lane in metres, divided by the vehicle's scale (Kendall 2018
    rewards forward speed, which is the same for a car that keeps to its lane). For the options see
    `sim.lane_following.LaneFollowing`.
    """

    def __init__(
        self,
        scenario: str = "paper",
        road_seed: int = 0,
        roads: str = "fixed",
        vehicle: str = "city_car",
        renderer: str = "planar",
        image_size: tuple[int, int] | None = None,
        grayscale: bool = False,
        random_start: bool = False,
        window: bool = False,
        **changes: Any,
    ) -> None:
        for option, name, table in (("roads", roads, ROADS), ("renderer", renderer, RENDERERS)):
            if name not in table:
                raise ScenarioError(f"{option} is {name!r}; expected one of {', '.join(table)}")
        self.scenario = load_scenario(scenario, **changes)
        self.roads, self.grayscale, self.random_start = ROADS[roads], grayscale, random_start
        self.vehicle = load_vehicle(vehicle)
        if image_size is not None:
            self.vehicle = replace(self.vehicle, camera=_sized(self.vehicle.camera, *image_size))
        self.unit_m = self.vehicle.scale
        self.road = draw_road(self.scenario, self.vehicle, road_seed)
        scene = draw_scene(self.scenario, self.vehicle, self.road, np.random.default_rng(road_seed))
        self.world = World(scene, renderer, window)

    @property
    def action_space(self) -> Box:
        """Steering (left positive, ±1 = the limit) and speed set-point (−1 = stand still, +1 = top speed)."""
        return Box(-1.0, 1.0, (2,), np.float32)

    @property
    def observation_space(self) -> Dict:
        """`image` uint8 (h, w, 3 or 1) and `state` float32 (4,)."""
        camera, top, lock = self.vehicle.camera, self.vehicle.top_speed_mps, self.vehicle.max_steering_rad
        shape = (camera.height_px, camera.width_px, 1 if self.grayscale else 3)
        high = np.array([2 * top, 2 * lock, 1, 1], np.float32)
        return Dict(image=Box(0, 255, shape, np.uint8), state=Box(-high, high))

    def reset(self, rng: np.random.Generator, options: dict[str, Any] | None) -> None:
        """Draw the episode's scene and stand the car at its start."""
        if self.roads is not None:
            self.road = draw_road(self.scenario, self.vehicle, int(rng.integers(self.roads.start, self.roads.stop)))
        self.world.load(draw_scene(self.scenario, self.vehicle, self.road, rng))
        if self.random_start or options:
            self._place(rng, options or {})
        length_m, top_mps = self.road.length_m, self.vehicle.top_speed_mps
        self._time_limit_steps = round(2 * length_m / top_mps / CONTROL_PERIOD_S)
        self._steps, self._stuck_since, self._best_m = 0, 0, self.world.track.distance_m
        self.disengagement: str | None = None

    def _place(self, rng: np.random.Generator, options: dict[str, Any]) -> None:
        """Stand the car where it is asked for, or anywhere that is not lost before it has begun."""
        start = {**self._draw_start(rng), **options} if self.random_start else options
        while self.random_start and "distance_m" not in options and self._blocked(start["distance_m"]):
            start["distance_m"] = self._draw_start(rng)["distance_m"]
        self.world.place(**start)

    def _blocked(self, distance_m: float) -> bool:
        """True when something stands so near ahead or behind that a start there would be a collision."""
        standing = [o.distance_m for o in self.world.scene.obstacles if not o.speed_mps]
        return any(abs(at_m - distance_m) < ROOM_M * self.unit_m for at_m in standing)

    def _draw_start(self, rng: np.random.Generator) -> dict[str, float]:
        return {
            "distance_m": rng.uniform(0, 0.9 * self.road.length_m),
            "lateral_offset_m": rng.uniform(-START_OFFSET_M, START_OFFSET_M) * self.unit_m,
            "heading_error_rad": rng.uniform(-START_ERROR_RAD, START_ERROR_RAD),
        }

    def step(self, action: np.ndarray) -> tuple[float, bool, bool]:
        """Drive for one control period; returns (reward, terminated, truncated)."""
        world, before = self.world, self.world.track.distance_m
        world.command(action)
        world.advance(CONTROL_PERIOD_S)
        self._steps += 1
        self.disengagement = world.disengagement or ("stuck" if self._stuck() else None)
        terminated = self.disengagement is not None
        truncated = not terminated and (world.finished or self._steps >= self._time_limit_steps)
        return (world.track.distance_m - before) / self.unit_m, terminated, truncated

    def _stuck(self) -> bool:
        """True when the car has got hardly farther than ever in the last seconds."""
        if self.world.track.distance_m > self._best_m + STUCK_M * self.unit_m:
            self._best_m, self._stuck_since = self.world.track.distance_m, self._steps
        return (self._steps - self._stuck_since) * CONTROL_PERIOD_S >= STUCK_S

    def capture(self, out: np.ndarray | None = None) -> np.ndarray:
        """Take the camera's next frame as the observation space says, into `out` if given."""
        if not self.grayscale:
            self.frame = self.world.capture(out)
            return self.frame
        self.frame = self.world.capture()
        grey = cv2.cvtColor(self.frame, cv2.COLOR_RGB2GRAY, out)
        return grey[..., None] if out is None else out

    @property
    def state(self) -> list[float]:
        """speed_mps, steering_rad and the last action that the motors really got."""
        return [self.world.speed_mps, self.world.steering_rad, *self.world.executed.tolist()]

    @property
    def measures(self) -> list[float]:
        """What the car cannot see, in the order of MEASURES, then the curvature at each of AHEAD_M."""
        world = self.world
        return [*world.track, *world.pose, *[world.curvature_ahead(ahead_m * self.unit_m) for ahead_m in AHEAD_M]]

    @property
    def info(self) -> dict[str, Any]:
        """What the car cannot see, by name."""
        measures = self.measures
        return {
            **dict(zip(MEASURES, measures, strict=False)),
            "curvature_ahead_1pm": np.array(measures[len(MEASURES) :]),
            "disengagement": self.disengagement,
            "finished": self.world.finished,
        }

    def picture(self) -> np.ndarray:
        """The car from behind beside its last frame and the map, (384, 704, 3) uint8 RGB."""
        return self.world.chase(self.frame)

    def close(self) -> None:
        """Free the world; closing twice is harmless."""
        self.world.close()


def _sized(camera: CameraSpec, height_px: int, width_px: int) -> CameraSpec:
    if height_px < 1 or width_px < 1:
        raise ScenarioError(f"image_size is {(height_px, width_px)}; expected (height, width) in pixels, from 1")
    return replace(camera, height_px=height_px, width_px=width_px)
