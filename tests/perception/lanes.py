"""A light stand-in for the lane-following environment: a bright line on dark ground, moved by the steering."""

import os
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

FAKE = "tests.perception.lanes:Lane-v0"  # Gymnasium imports the module by itself
ANNOUNCING = "tests.perception.lanes:AnnouncingLane-v0"
SIZE = 16
EDGE_M = 1.0


class Lane(gymnasium.Env):
    """Every step moves the line by a tenth of the steering and rewards a tenth of the speed set-point."""

    def __init__(self, roads: str, random_start: bool) -> None:
        self.action_space = Box(-1, 1, (2,), np.float32)
        self.observation_space = Dict(
            image=Box(0, 255, (SIZE, SIZE, 3), np.uint8), state=Box(-10, 10, (4,), np.float32)
        )
        self.roads, self.random_start = roads, random_start

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        assert self.roads == "held_in"
        assert self.random_start
        self.offset_m = self.np_random.uniform(-0.5, 0.5)
        self.curvature_1pm = self.np_random.uniform(-0.1, 0.1)
        return self._moment(np.zeros(2))

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        self.offset_m += 0.1 * float(action[0])
        terminated = abs(self.offset_m) > EDGE_M
        obs, info = self._moment(action)
        return obs, 0.1 * float(action[1]), terminated, False, info

    def _moment(self, action: np.ndarray) -> tuple[dict, dict[str, Any]]:
        """A line two columns wide, brighter the sharper the bend."""
        image = np.full((SIZE, SIZE, 3), 40, np.uint8)
        column = round((self.offset_m + EDGE_M) / (2 * EDGE_M) * (SIZE - 4)) + 1
        image[:, np.clip([column, column + 1], 0, SIZE - 1)] = (200, 200, int(128 + 1000 * self.curvature_1pm))
        info = {
            "lateral_offset_m": self.offset_m,
            "heading_error_rad": -self.offset_m,
            "curvature_1pm": self.curvature_1pm,
            "curvature_ahead_1pm": self.curvature_1pm + np.array([0.02, 0.05, 0.1]),
        }
        return {"image": image, "state": np.array([1, 0.5, *action], np.float32)}, info


class AnnouncingLane(Lane):
    """Writes a line to standard output at every start, for a test that watches from outside."""

    def reset(self, **kwargs: Any) -> tuple[dict, dict]:
        os.write(1, b"start\n")
        return super().reset(**kwargs)


gymnasium.register("Lane-v0", entry_point=Lane)
gymnasium.register("AnnouncingLane-v0", entry_point=AnnouncingLane)
