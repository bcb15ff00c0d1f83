"""Uniform random actions before an actor has learned anything worth trying."""

from typing import Any

import numpy as np
from jaxtyping import Float
from torch import nn

from agent.noise.explorer import Explorer


class RandomStart:
    """Draws the first `steps` actions of a run uniformly from [-1, 1], then explores as `explorer` does.

    Fujimoto 2018 has 10,000 steps for HalfCheetah and Ant, 1,000 elsewhere.
    """

    def __init__(self, explorer: Explorer, steps: int, size: int, rng: np.random.Generator) -> None:
        self.explorer, self.left, self.size, self.rng = explorer, steps, size, rng

    def begin(self, actor: nn.Module, episode: int) -> None:
        """Start an episode."""
        self.explorer.begin(actor, episode)

    def act(self, actor: nn.Module, obs: Float[np.ndarray, " obs"]) -> Float[np.ndarray, " action"]:
        """Return the action to try, float32 in [-1, 1]."""
        if self.left == 0:
            return self.explorer.act(actor, obs)
        self.left -= 1
        return self.rng.uniform(-1, 1, self.size).astype(np.float32)

    def state(self) -> dict[str, Any]:
        """The steps left, the explorer and where the generator stands."""
        return {"left": self.left, "explorer": self.explorer.state(), "rng": self.rng.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.left = state["left"]
        self.explorer.restore(state["explorer"])
        self.rng.bit_generator.state = state["rng"]
