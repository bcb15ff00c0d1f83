"""Environments for processes that a test starts: what they do changes when a file appears, named by GATE.

--env tests.agent.worlds:Slow-v0       takes 20 ms a step until then
--env tests.agent.worlds:Broken-v0     cannot be made until then
--env tests.agent.worlds:SlowLane-v0   the lane, 50 ms a step until then
"""

import os
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

GATE = "LAPWING_TEST_GATE"
SLOW, BROKEN, SLOW_LANE = (f"{__name__}:{world}-v0" for world in ("Slow", "Broken", "SlowLane"))
SMALL = ("--encoder", "none", "--algo", "ddpg", "--ddpg.hidden", "8", "--evaluation-episodes", "1")


class World(gymnasium.Env):
    """Nothing to see; the reward is the action."""

    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)

    def __init__(self, delay_s: float = 0.0, broken: bool = False) -> None:
        self.gate, self.delay_s = Path(os.environ[GATE]), delay_s
        if broken and not self.gate.exists():
            raise RuntimeError("this world is broken")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        if not self.gate.exists():
            time.sleep(self.delay_s)
        return np.zeros(1, np.float32), float(action[0]), False, False, {}


class SlowLane(gymnasium.Wrapper):
    """The lane of `lapwing train`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(gymnasium.make("sim:LaneFollowing-v0", **options))
        self.gate = Path(os.environ[GATE])

    def step(self, action: np.ndarray) -> tuple[Any, Any, bool, bool, dict]:
        if not self.gate.exists():
            time.sleep(0.05)
        return super().step(action)


gymnasium.register("SlowLane-v0", SlowLane)
gymnasium.register("Slow-v0", World, max_episode_steps=10, kwargs={"delay_s": 0.02})
gymnasium.register("Broken-v0", World, max_episode_steps=10, kwargs={"broken": True})
