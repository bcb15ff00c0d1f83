"""Many actors in one process: they take turns, an episode each, and each explores by its own strength."""

from typing import Any

import numpy as np
from jaxtyping import Float
from torch import nn

from agent.noise.explorer import Explorer


def ladder(actor: int, actors: int) -> float:
    """The strength of an actor's noise among many, from 1/32 for the first to 1 for the last in equal ratios.

    The range goes with D4PG (Barth-Maron 2018, 32 actors and more), the equal ratios with Ape-X (Horgan 2018).
    """
    return 32.0 ** (actor / (actors - 1) - 1) if actors > 1 else 1.0


def between(actor: int) -> float:
    """The strength of an actor's noise among nobody knows how many: 32 to the −½, −¼, −¾, −⅛, −⅝, …

    The exponents are the van der Corput sequence in base 2 (van der Corput 1935), of which any first N are spread
    evenly over the range of `ladder`.
    """
    digits = f"{actor + 1:b}"
    return 32.0 ** -(int(digits[::-1], 2) / 2 ** len(digits))


class Turns:
    """Explores one episode as the first of `explorers` does, the next as the second, and so on around."""

    def __init__(self, explorers: list[Explorer]) -> None:
        self.explorers, self.turn = explorers, 0

    def begin(self, actor: nn.Module, episode: int) -> None:
        """Start an episode; its number says whose turn it is."""
        self.turn = episode % len(self.explorers)
        self.explorers[self.turn].begin(actor, episode)

    def act(self, actor: nn.Module, obs: Float[np.ndarray, " obs"]) -> Float[np.ndarray, " action"]:
        """Return the action to try, float32 in [-1, 1]."""
        return self.explorers[self.turn].act(actor, obs)

    def state(self) -> dict[str, Any]:
        """That of every explorer."""
        return {"explorers": [explorer.state() for explorer in self.explorers]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        for explorer, own in zip(self.explorers, state["explorers"], strict=True):
            explorer.restore(own)
