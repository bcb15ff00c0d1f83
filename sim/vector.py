"""Many cars in one process, as a Gymnasium vector environment."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from sim.options import expect
from sim.spec import CONTROL_PERIOD_S
from sim.task import MEASURES, LaneTask


class LaneFollowingVec(VectorEnv):
    """`num_envs` cars, each on a road of its own, drive at once; per car it is what LaneFollowing is.

    Every car has a PyBullet client of its own: in one world the order in which contacts are solved would tie the
    cars' results to each other. Frames are drawn straight into the batch. An episode that is over begins anew with
    the next step, whose action is ignored (AutoresetMode.NEXT_STEP). For the options see LaneFollowing.
    """

    metadata = {  # noqa: RUF012 (Gymnasium's form)
        "render_modes": ["rgb_array"],
        "render_fps": round(1 / CONTROL_PERIOD_S),
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(self, num_envs: int = 1, render_mode: str | None = None, **options: Any) -> None:
        expect(num_envs >= 1, "num_envs", num_envs, "1 or more")
        expect(render_mode in (None, "rgb_array"), "render_mode", render_mode, "rgb_array or None")
        self.num_envs, self.render_mode = num_envs, render_mode
        self.tasks = [LaneTask(**options) for _ in range(num_envs)]
        self.single_action_space = self.tasks[0].action_space
        self.single_observation_space = self.tasks[0].observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._rngs = [np_random()[0] for _ in self.tasks]
        self._images = np.array([task.capture() for task in self.tasks])
        self._over = np.ones(num_envs, bool)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode with every car, the i-th as LaneFollowing does with seed + i.

        options["reset_mask"], (num_envs,) bool, resets only some of them; the others stay where they are.
        """
        seeds = self._seeds(seed)
        options = dict(options or {})
        begun = options.pop("reset_mask", np.ones(self.num_envs, bool))
        for i in np.flatnonzero(begun).tolist():
            if seeds[i] is not None:
                self._rngs[i], _ = np_random(seeds[i])
            self._begin(i, options)
        self._over[begun] = False
        return self._observation(), self._infos()

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        """One for each car."""
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            return [int(seed) + i for i in range(self.num_envs)]
        expect(len(seed) == self.num_envs, "seed", seed, f"a number or {self.num_envs} of them")
        return [one if one is None else int(one) for one in seed]

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Drive every car for one control period; actions: (num_envs, 2)."""
        rewards = np.zeros(self.num_envs)
        terminations, truncations = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        for i, (task, action) in enumerate(zip(self.tasks, actions, strict=True)):
            if self._over[i]:
                self._begin(i, None)
            else:
                rewards[i], terminations[i], truncations[i] = task.step(action)
                task.capture(self._images[i])  # at once: what the step has touched is still in the processor's cache
        self._over = terminations | truncations
        return self._observation(), rewards, terminations, truncations, self._infos()

    def _begin(self, i: int, options: dict[str, Any] | None) -> None:
        self.tasks[i].reset(self._rngs[i], options)
        self.tasks[i].capture(self._images[i])

    def _observation(self) -> dict[str, np.ndarray]:
        """What every car saw last; the frames were drawn straight into the batch."""
        return {"image": self._images.copy(), "state": np.array([task.state for task in self.tasks], np.float32)}

    def _infos(self) -> dict[str, Any]:
        """Every car's info: an array for each key, and a mask of who has it, which is everybody."""
        measures = np.array([task.measures for task in self.tasks])
        infos: dict[str, Any] = dict(zip(MEASURES, measures.T[: len(MEASURES)], strict=True))
        infos["curvature_ahead_1pm"] = measures[:, len(MEASURES) :]
        infos["disengagement"] = np.array([task.disengagement for task in self.tasks], object)
        infos["finished"] = np.array([task.world.finished for task in self.tasks])
        everybody = np.ones(self.num_envs, bool)
        return infos | {f"_{key}": everybody for key in infos}

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A picture of every car, each (384, 704, 3) uint8 RGB."""
        return tuple(task.picture() for task in self.tasks) if self.render_mode == "rgb_array" else None

    def close_extras(self, **kwargs: Any) -> None:
        """Free PyBullet."""
        for task in self.tasks:
            task.close()
