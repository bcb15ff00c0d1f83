"""Parameter-space noise (Plappert 2018, arXiv 1706.01905): a perturbed copy of the actor drives each episode."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from agent.networks import Actor
from agent.noise.explorer import NoiseError, greedy
from agent.settings import Count, NotNegative, Positive


@dataclass(frozen=True)
class ParameterNoiseConfig:
    """θ~ = θ + N(0, σ²), with σ adapted so that the actions of θ~ stay near a distance from those of θ."""

    distance: NotNegative = 0.2  # wanted root mean square difference of the actions; Plappert 2018, MuJoCo with DDPG
    sigma: NotNegative = 0.1  # standard deviation of the weights' noise at first; OpenAI Baselines
    factor: Positive = 1.01  # by which sigma grows or shrinks at each adaptation; Plappert 2018, appendix
    every: Count = 50  # steps between two adaptations, and observations that one looks at; OpenAI Baselines


class ParameterNoise:
    """Explores the same way all episode long, differently in each.

    Without LayerNorm one sigma would mean very different things to different layers (section 3), so an actor without
    is refused; the parameters of its norms are left as they are, as in OpenAI Baselines.
    """

    def __init__(self, config: ParameterNoiseConfig, size: int, rng: np.random.Generator, scale: float = 1.0) -> None:
        self.config, self.rng = config, rng
        self.distance, self.sigma = scale * config.distance, scale * config.sigma
        self._seen: list[np.ndarray] = []  # observations since the last adaptation
        self._perturbed: nn.Module | None = None

    def begin(self, actor: nn.Module, episode: int) -> None:
        """Perturb a copy of the actor for this episode. Raises NoiseError when the actor has no LayerNorm."""
        if not any(isinstance(module, nn.LayerNorm) for module in perturbable(actor).modules()):
            raise NoiseError('parameter noise needs an actor with LayerNorm, norm="layer"; this one has none')
        self._perturbed = self._perturb(actor)

    def act(self, actor: nn.Module, obs: Float[np.ndarray, " obs"]) -> Float[np.ndarray, " action"]:
        """Return the perturbed copy's action."""
        assert self._perturbed is not None, "begin an episode first"
        self._seen.append(obs)
        if len(self._seen) == self.config.every:
            self._adapt(actor)
        return greedy(self._perturbed, obs)

    def _adapt(self, actor: nn.Module) -> None:
        """Let σ grow where a fresh perturbation stays nearer than wanted, shrink where it goes further (section 3).

        d(π, π~) = √E[(π(s)_i − π~(s)_i)²] over the observations s since the last time and all components i.
        """
        obs, self._seen = torch.from_numpy(np.array(self._seen)), []
        with torch.inference_mode():
            distance = (actor(obs) - self._perturb(actor)(obs)).square().mean().sqrt().item()
        self.sigma *= self.config.factor if distance < self.distance else 1 / self.config.factor

    @torch.no_grad()
    def _perturb(self, actor: nn.Module) -> nn.Module:
        perturbed = copy.deepcopy(actor)
        for module in perturbable(perturbed).modules():
            if not isinstance(module, nn.LayerNorm):
                for parameter in module.parameters(recurse=False):
                    noise = self.rng.standard_normal(parameter.shape, dtype=np.float32)
                    parameter.add_(torch.from_numpy(noise), alpha=self.sigma)
        return perturbed

    def state(self) -> dict[str, Any]:
        """Sigma, the observations that the next adaptation looks at, and where the generator stands."""
        seen = [obs.tolist() for obs in self._seen]
        return {"sigma": self.sigma, "seen": seen, "rng": self.rng.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.sigma = state["sigma"]
        self._seen = [np.array(obs, np.float32) for obs in state["seen"]]
        self.rng.bit_generator.state = state["rng"]


def perturbable(policy: nn.Module) -> nn.Module:
    """The actor itself: what encodes images before it (`agent/pixels.py: seen_by`) stays as it is."""
    return next((module for module in policy.modules() if isinstance(module, Actor)), policy)
