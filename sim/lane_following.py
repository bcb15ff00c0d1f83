"""Lane following as a Gymnasium environment: keep to the lane of a road, as far as it goes."""

import time
from typing import Any

import gymnasium
import numpy as np

from sim.options import expect
from sim.road import Road
from sim.scene import HELD_OUT
from sim.spec import CONTROL_PERIOD_S
from sim.task import LaneTask
from sim.window import Window

WINDOW_PX = 1056, 576  # one and a half times the picture


class LaneFollowing(gymnasium.Env):
    """Drive along the lane; the reward of a step is the progress along it in metres at full size.

    Action: Box(-1, 1, (2,)) float32, steering (left positive, ±1 = the vehicle's limit) and speed set-point
    (−1 = stand still, +1 = top speed).
    Observation: Dict of `image` uint8 (height, width, 3) RGB, or (height, width, 1), and `state` float32 (4,):
    speed_mps, steering_rad and the last action that the motors really got, after delay and rate limit.
    An episode terminates with a disengagement (off lane, stuck, wrong way, collision, overspeed) and is truncated
    at the end of the route or after twice the time that it takes at top speed.

    scenario: a preset of sim.scenario.SCENARIOS, of which any field may be given as a further option;
    road_seed: the road; roads: "fixed" keeps it, "held_in" and "held_out" draw a new one every episode from the
    seeds to train on and to judge on; vehicle, renderer: names in sim.vehicles.VEHICLES and
    sim.renderers.RENDERERS; image_size: (height, width) instead of the vehicle's own; grayscale: one channel;
    random_start: anywhere along the road, off the centre and askew; render_mode: "rgb_array" (camera, chase view
    and map), "human" (the same in a window), "bullet" (PyBullet's own window).
    Raises ScenarioError, VehicleError, RouteError or TrackError, in one line, for what there is not, and WindowError
    where there is no screen for a window.
    """

    metadata = {  # noqa: RUF012 (Gymnasium's form)
        "render_modes": ["rgb_array", "human", "bullet"],
        "render_fps": round(1 / CONTROL_PERIOD_S),
    }

    held_out = HELD_OUT  # seeds of the roads to judge on, as road_seed

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        modes = (None, *self.metadata["render_modes"])
        expect(render_mode in modes, "render_mode", render_mode, f"one of {', '.join(map(str, modes))}")
        self.render_mode = render_mode
        self.task = LaneTask(window=render_mode == "bullet", **options)
        self._window = Window(WINDOW_PX, "Lapwing", self.metadata["render_fps"]) if render_mode == "human" else None
        self._due_s = 0.0  # when PyBullet's window shows the next moment
        self.vehicle, self.world = self.task.vehicle, self.task.world
        self.action_space, self.observation_space = self.task.action_space, self.task.observation_space

    @property
    def road(self) -> Road:
        """The road of this episode."""
        return self.task.road

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Stand at the start of the route, or where options say: distance_m, lateral_offset_m, heading_error_rad."""
        super().reset(seed=seed)
        self.task.reset(self.np_random, options)
        obs = self._observe()
        self._show()
        return obs, self.task.info

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        """Drive for one control period; with a window, in real time."""
        reward, terminated, truncated = self.task.step(action)
        obs = self._observe()
        self._show()
        return obs, reward, terminated, truncated, self.task.info

    def _observe(self) -> dict[str, np.ndarray]:
        return {"image": self.task.capture(), "state": np.array(self.task.state, np.float32)}

    def _show(self) -> None:
        if self._window:
            self._window.show(self.task.picture())
        elif self.render_mode == "bullet":
            self.world.follow_car()
            time.sleep(max(self._due_s - time.monotonic(), 0.0))
            self._due_s = time.monotonic() + CONTROL_PERIOD_S

    def render(self) -> np.ndarray | None:
        """The car from behind beside its camera image and the map, (384, 704, 3) uint8 RGB; None with a window."""
        return self.task.picture() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free PyBullet and the window; closing twice is harmless."""
        self.task.close()
        if self._window:
            self._window.close()
