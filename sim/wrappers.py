"""Other views of the environment: what only the simulator knows, and the last frames at once."""

from collections import deque
from typing import Any, SupportsFloat

import cv2
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.utils import RecordConstructorArgs


class LaneState(gymnasium.Wrapper, RecordConstructorArgs):
    """Gives what the simulator knows instead of an image, for learning without a camera.

    Observation: Box (9,) float32, clipped to its bounds, left positive:

    | at  | what                                                                        | bound |
    |-----|-----------------------------------------------------------------------------|-------|
    | 0   | lateral offset, in halves of the lane's width                               | ±2    |
    | 1   | heading error in radians                                                    | ±π    |
    | 2-4 | the lane's curvature 2, 5 and 10 m ahead, in 1/m, all metres at full size   | ±1    |
    | 5   | speed, as a part of top speed                                               | ±2    |
    | 6   | steering, as a part of its limit                                            | ±2    |
    | 7-8 | the last action that the motors really got                                  | ±1    |

    The camera still takes its frames; option image_size=(1, 1) makes them cheap.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        high = np.array([2, np.pi, 1, 1, 1, 2, 2, 1, 1], np.float32)
        self.observation_space = Box(-high, high)
        self._high = high
        vehicle = env.get_wrapper_attr("vehicle")
        self._unit_m, self._units = vehicle.scale, (vehicle.top_speed_mps, vehicle.max_steering_rad)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Begin an episode."""
        obs, info = self.env.reset(seed=seed, options=options)
        return self._know(obs, info), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict]:
        """Drive for one control period."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._know(obs, info), reward, terminated, truncated, info

    def _know(self, obs: dict[str, np.ndarray], info: dict[str, Any]) -> np.ndarray:
        road = self.env.get_wrapper_attr("road")
        i = road.index(info["distance_m"])
        half_width_m = (road.left_m[i] + road.right_m[i]) / 2
        speed_mps, steering_rad, *executed = obs["state"].tolist()
        top_speed_mps, max_steering_rad = self._units
        known = [
            info["lateral_offset_m"] / half_width_m,
            info["heading_error_rad"],
            *(info["curvature_ahead_1pm"] * self._unit_m),
            speed_mps / top_speed_mps,
            steering_rad / max_steering_rad,
            *executed,
        ]
        return np.clip(np.array(known, np.float32), -self._high, self._high)


class FrameStack(gymnasium.Wrapper, RecordConstructorArgs):
    """Gives the last k images as one of k times the channels, the newest last; the state stays the newest.

    Observation: as the environment's, with `image` uint8 (h, w, k * channels). An episode begins with k times its
    first image. (gymnasium.wrappers.FrameStackObservation stacks along a new first axis, the state too.)
    Raises ValueError for a k below 1.
    """

    def __init__(self, env: gymnasium.Env, k: int) -> None:
        RecordConstructorArgs.__init__(self, k=k)
        super().__init__(env)
        self.k = k
        if k < 1:
            raise ValueError(f"k is {k}; expected 1 or more frames")
        assert isinstance(env.observation_space, Dict)
        image = env.observation_space["image"]
        assert isinstance(image, Box)
        stacked = Box(np.tile(image.low, k), np.tile(image.high, k), dtype=np.uint8)
        self.observation_space = Dict({**env.observation_space, "image": stacked})
        self._shape, self._images = stacked.shape, deque(maxlen=k)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Begin an episode with k times its first image."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._images.extend([obs["image"]] * self.k)
        return self._stack(obs), info

    def step(self, action: np.ndarray) -> tuple[dict, SupportsFloat, bool, bool, dict]:
        """Drive for one control period; the oldest image makes room for the newest."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._images.append(obs["image"])
        return self._stack(obs), reward, terminated, truncated, info

    def _stack(self, obs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        stacked = cv2.merge(list(self._images))  # six times as fast as np.concatenate
        return obs | {"image": stacked.reshape(self._shape)}
