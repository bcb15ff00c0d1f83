"""The task of keeping to a lane: where an episode starts, what a step is worth and what ends it."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
from gymnasium.spaces import Box, Dict

from sim.options import expect, read_options
from sim.renderers import RENDERERS
from sim.scenario import Scenario, load_scenario
from sim.scene import HELD_IN, HELD_OUT, draw_road, draw_scene
from sim.spec import CONTROL_PERIOD_S
from sim.vehicles import load_vehicle
from sim.world import World

ROADS = {"fixed": None, "held_in": HELD_IN, "held_out": HELD_OUT}
AHEAD_M = (2.0, 5.0, 10.0)  # where info tells the lane's curvature, at full size
MEASURES = ("distance_m", "lateral_offset_m", "heading_error_rad", "curvature_1pm", "x_m", "y_m", "yaw_rad")
START_OFFSET_M = 0.6  # random starts lie within this of the lane's centre, at full size, …
START_ERROR_RAD = 0.2  # … and of its heading
ROOM_M = 6.0  # between a start and what stands on the road, at full size; things are 12 m apart
STUCK_S, STUCK_M = 5.0, 0.25  # who comes less far in that time, at full size, is stuck


@dataclass(frozen=True)
class TaskOptions:
    """How to drive in a scenario, see `sim.lane_following.LaneFollowing`; ScenarioError for what there is not."""

    scenario: str = "paper"
    roads: str = "fixed"
    road_seed: int = 0
    vehicle: str = "city_car"
    renderer: str = "planar"
    image_size: tuple[int, int] | None = None  # height, width in pixels
    grayscale: bool = False
    random_start: bool = False

    def __post_init__(self) -> None:
        for option, table in (("roads", ROADS), ("renderer", RENDERERS)):
            name = getattr(self, option)
            expect(name in table, option, name, f"one of {', '.join(table)}")
        expect(self.road_seed >= 0, "road_seed", self.road_seed, "0 or more")
        expect(min(self.image_size or (1,)) >= 1, "image_size", self.image_size, "(height, width) in pixels, from 1")


OPTIONS = [field.name for field in fields(TaskOptions)]
SCENARIO_OPTIONS = [field.name for field in fields(Scenario)]
START_OPTIONS = ("distance_m", "lateral_offset_m", "heading_error_rad")


class LaneTask:
    """One car's episodes, one after another; the environments are this for one car and for many.

    The reward of a step is the progress along the lane in metres, divided by the vehicle's scale (Kendall 2018
    rewards forward speed, which is the same for a car that keeps to its lane). For the options see
    `sim.lane_following.LaneFollowing`.
    """

    def __init__(self, window: bool = False, **options: Any) -> None:
        own = {name: options.pop(name) for name in OPTIONS if name in options}
        for name in options:
            expect(name in SCENARIO_OPTIONS, "option", name, f"one of {', '.join((*OPTIONS, *SCENARIO_OPTIONS))}")
        self.options = read_options(TaskOptions, own)
        self.scenario = load_scenario(self.options.scenario, **options)
        self.roads = ROADS[self.options.roads]
        self.vehicle = load_vehicle(self.options.vehicle)
        if self.options.image_size:
            height_px, width_px = self.options.image_size
            camera = replace(self.vehicle.camera, height_px=height_px, width_px=width_px)
            self.vehicle = replace(self.vehicle, camera=camera)
        self.unit_m = self.vehicle.scale
        self._check_room()
        road_seed = self.options.road_seed
        self.road = draw_road(self.scenario, self.vehicle, road_seed)
        scene = draw_scene(self.scenario, self.vehicle, self.road, np.random.default_rng(road_seed))
        self.world = World(scene, self.options.renderer, window)
        self.capture()

    def _check_room(self) -> None:
        """Refuse procedural roads on which the car has no room; tracks are measured when they are read."""
        wheels_m, turn_m = self.vehicle.track_m / self.unit_m, self.vehicle.least_radius_m / self.unit_m
        lane_m, radius_m = self.scenario.lane_width_m, self.scenario.min_radius_m
        expect(lane_m[0] > wheels_m, "lane_width_m", lane_m, f"more than between the car's wheels, {wheels_m:.2f} m")
        expect(radius_m > turn_m, "min_radius_m", radius_m, f"more than the car's tightest turn, {turn_m:.2f} m")

    @property
    def action_space(self) -> Box:
        """Steering (left positive, ±1 = the limit) and speed set-point (−1 = stand still, +1 = top speed)."""
        return Box(-1.0, 1.0, (2,), np.float32)

    @property
    def observation_space(self) -> Dict:
        """`image` uint8 (h, w, 3 or 1) and `state` float32 (4,)."""
        camera, top, lock = self.vehicle.camera, self.vehicle.top_speed_mps, self.vehicle.max_steering_rad
        shape = (camera.height_px, camera.width_px, 1 if self.options.grayscale else 3)
        high = np.array([2 * top, 2 * lock, 1, 1], np.float32)
        return Dict(image=Box(0, 255, shape, np.uint8), state=Box(-high, high))

    def reset(self, rng: np.random.Generator, options: dict[str, Any] | None) -> None:
        """Draw the episode's scene and stand the car at its start, or where options (START_OPTIONS) say."""
        for name, value in (options or {}).items():
            expect(name in START_OPTIONS, "reset option", name, f"one of {', '.join(START_OPTIONS)}")
            expect(isinstance(value, int | float | np.number) and math.isfinite(value), name, value, "a finite number")
        start_m = (options or {}).get("distance_m", 0.0)
        if self.roads is not None:
            self.road = draw_road(self.scenario, self.vehicle, int(rng.integers(self.roads.start, self.roads.stop)))
        length_m, top_mps = self.road.length_m, self.vehicle.top_speed_mps
        # A car that was put back where it stood may have rolled back by a hair.
        expect(-self.unit_m < start_m < length_m, "distance_m", start_m, f"a place on the route, 0 to {length_m:g} m")
        self.world.load(draw_scene(self.scenario, self.vehicle, self.road, rng))
        if self.options.random_start or options:
            self._place(rng, options or {})
        self._time_limit_steps = round(2 * length_m / top_mps / CONTROL_PERIOD_S)
        self._steps, self._stuck_since, self._best_m = 0, 0, self.world.track.distance_m
        self.disengagement: str | None = None

    def _place(self, rng: np.random.Generator, options: dict[str, Any]) -> None:
        """Stand the car where it is asked for, the rest at random if so, but if possible not lost from the start."""
        for _ in range(100 if self.options.random_start else 1):
            start = {**self._draw_start(rng), **options} if self.options.random_start else options
            self.world.place(**start)
            if not self.world.disengagement and not self._blocked():
                return

    def _blocked(self) -> bool:
        """True when something stands so near ahead or behind that a start here would be a collision."""
        standing = [o.distance_m for o in self.world.scene.obstacles if not o.speed_mps]
        return any(abs(at_m - self.world.track.distance_m) < ROOM_M * self.unit_m for at_m in standing)

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
        if not self.options.grayscale:
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
            **dict(zip(MEASURES, measures[: len(MEASURES)], strict=True)),
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
