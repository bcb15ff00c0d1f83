"""Lane following as a Gymnasium environment: keep to the lane of a country road, as far as it goes."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from sim.road import Road, make_road
from sim.spec import CONTROL_PERIOD_S
from sim.vehicles import load_vehicle
from sim.world import World

START_OFFSET_M = 0.6  # random starts lie within this of the lane's centre …
START_ERROR_RAD = 0.2  # … and of its heading


class LaneFollowing(gymnasium.Env):
    """Drive along the lane; the reward of a step is the progress along it in metres.

    Kendall 2018 rewards forward speed, which is the same of a car that keeps to its lane.
    Action: Box(-1, 1, (2,)) float32, steering (left positive, ±1 = the vehicle's limit) and speed set-point
    (−1 = stand still, +1 = top speed).
    Observation: Dict of `image` uint8 (height, width, 3) RGB and `state` float32 (4,): speed_mps,
    steering_rad and the last action that the motors really got, after the rate limit.
    An episode terminates with a disengagement (a wheel crosses the edge of the lane) and is truncated at the
    end of the route or after twice the time that it takes at top speed.

    road_seed, length_m: the route; vehicle, renderer: names in sim.vehicles.VEHICLES and
    sim.renderers.RENDERERS, KeyError for another; random_road: a new road every episode; random_start:
    anywhere along it, off the centre and askew.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / CONTROL_PERIOD_S)}  # noqa: RUF012 (Gymnasium's form)

    def __init__(
        self,
        road_seed: int = 0,
        length_m: float = 250.0,
        vehicle: str = "city_car",
        renderer: str = "planar",
        random_road: bool = False,
        random_start: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        self.length_m, self.random_road, self.random_start = length_m, random_road, random_start
        self.vehicle = load_vehicle(vehicle)
        self.world = World(make_road(road_seed, length_m), self.vehicle, renderer)
        self._time_limit_steps = round(2 * length_m / self.vehicle.top_speed_mps / CONTROL_PERIOD_S)
        camera, top, lock = self.vehicle.camera, self.vehicle.top_speed_mps, self.vehicle.max_steering_rad
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)
        high = np.array([2 * top, 2 * lock, 1, 1], np.float32)
        self.observation_space = Dict(
            image=Box(0, 255, (camera.height_px, camera.width_px, 3), np.uint8), state=Box(-high, high)
        )

    @property
    def road(self) -> Road:
        """The road of this episode."""
        return self.world.road

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Stand at the start of the route, or at options["distance_m"] along it."""
        super().reset(seed=seed)
        if self.random_road:
            self.world.load(make_road(int(self.np_random.integers(2**31)), self.length_m))
        start = {"distance_m": 0.0, **(self._draw_start() if self.random_start else {}), **(options or {})}
        self.world.place(**start)
        self._steps = 0
        return self._observe(), self._info()

    def _draw_start(self) -> dict[str, float]:
        return {
            "distance_m": self.np_random.uniform(0, 0.9 * self.length_m),
            "lateral_offset_m": self.np_random.uniform(-START_OFFSET_M, START_OFFSET_M),
            "heading_error_rad": self.np_random.uniform(-START_ERROR_RAD, START_ERROR_RAD),
        }

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        """Drive for one control period."""
        before = self.world.track.distance_m
        self.world.command(action)
        self.world.advance(CONTROL_PERIOD_S)
        self._steps += 1
        reward = self.world.track.distance_m - before
        terminated = self.world.disengagement is not None
        truncated = not terminated and (self.world.finished or self._steps >= self._time_limit_steps)
        return self._observe(), reward, terminated, truncated, self._info()

    def _observe(self) -> dict[str, np.ndarray]:
        world = self.world
        state = np.array([world.speed_mps, world.steering_rad, *world.executed], np.float32)
        return {"image": world.image(), "state": state}

    def _info(self) -> dict[str, Any]:
        x, y, yaw = self.world.pose
        return {
            **self.world.track._asdict(),
            "x_m": x,
            "y_m": y,
            "yaw_rad": yaw,
            "disengagement": self.world.disengagement,
            "finished": self.world.finished,
        }

    def render(self) -> np.ndarray | None:
        """The car from behind beside its camera image and the map, (384, 704, 3) uint8 RGB."""
        return self.world.chase(self.world.image()) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free PyBullet; closing twice is harmless."""
        self.world.close()
