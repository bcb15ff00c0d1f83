"""Worlds small enough to work out by hand, and an encoder that sees only one pixel."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict
from torch import nn

from agent.actors.fleet import Fleet, Step
from agent.checkpoint import PolicyFacts
from agent.replay.uniform import Batch, Sample

FACTS = PolicyFacts(
    run="test",
    algo="ddpg",
    env="sim:LaneFollowing-v0",
    road_seed=0,
    length_m=12.0,
    obs_size=38,
    action_size=2,
    hidden=(16,),
    norm="layer",
    activation="relu",
    history=2,
    period_s=0.1,
    image_height=64,
    image_width=64,
    top_speed_mps=10 / 3.6,
    max_steering_rad=np.pi / 6,
    max_steering_rate_radps=0.8,
)


class Strip(gymnasium.Env):
    """A strip of `length` steps; observes (episode, step), and its motors do half of what they are told.

    `ending` is "terminated" or "truncated". `asked`, `seen` and `started_m` remember actions, observations, starts.
    """

    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Box(-1, 1, (2,), np.float32)

    def __init__(self, length: int, ending: str = "terminated"):
        self.length, self.ending = length, ending
        self.episode = -1
        self.asked: list[np.ndarray] = []
        self.seen: list[np.ndarray] = []
        self.started_m: list[float] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.started_m.append((options or {}).get("distance_m", 0.0))
        self.episode, self.steps = self.episode + 1, 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.asked.append(action.copy())
        self.steps += 1
        over = self.steps == self.length
        info = {
            "executed": action / 2,
            "distance_m": self.started_m[-1] + 3.0 * self.steps,
            "disengagement": "off the strip" if over and self.ending == "terminated" else None,
            "finished": over and self.ending == "truncated",
        }
        terminated, truncated = (over and self.ending == end for end in ("terminated", "truncated"))
        return self._observe(), float(self.steps), terminated, truncated, info

    def _observe(self) -> np.ndarray:
        self.seen.append(np.array([self.episode, self.steps], np.float32))
        return self.seen[-1]


class StripFleet(Fleet):
    """Cars on strips, which see (episode, step) itself."""

    def __init__(self, *envs: Strip) -> None:
        self.envs = list(envs)

    def begin(self, car: int, distance_m: float) -> None:
        self.envs[car].reset(options={"distance_m": distance_m})

    def step(self, car: int, action: np.ndarray) -> Step:
        _, reward, terminated, truncated, info = self.envs[car].step(action)
        return Step(info["executed"], reward, terminated, truncated, info)

    def see(self, cars: Sequence[int], mirrored: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        seen = np.stack([self.envs[car].seen[-1] for car in (*cars, *mirrored)])
        return seen[: len(cars)], -seen[len(cars) :]


class Film(gymnasium.Env):
    """Images and measurements of a car with 5 m/s top speed and 0.5 rad of steering, drawn from its own generator."""

    observation_space = Dict(image=Box(0, 255, (8, 8, 3), np.uint8), state=Box(-np.inf, np.inf, (4,), np.float32))
    action_space = Box(-1, 1, (2,), np.float32)
    vehicle = SimpleNamespace(top_speed_mps=5.0, max_steering_rad=0.5)

    def __init__(self):
        self.shown: list[dict[str, np.ndarray]] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        return self._observe(), 0.0, False, False, {"distance_m": 1.0}

    def _observe(self) -> dict[str, np.ndarray]:
        image = self.np_random.integers(0, 256, (8, 8, 3), np.uint8)
        self.shown.append({"image": image, "state": self.np_random.random(4, np.float32)})
        return self.shown[-1]


class FirstPixel(nn.Module):
    """Encodes an image as its first pixel in [0, 1]."""

    def encode_mean(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, 0].float() / 255


class Descent:
    """Plain gradient descent in Adam's place, θ ← θ − α·g."""

    def __init__(self, network: torch.nn.Module, lr: float) -> None:
        self.weights, self.lr = list(network.parameters()), lr

    @torch.no_grad()
    def step(self, gradients) -> None:
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.sub_(gradient, alpha=self.lr)


def random_batch(size: int = 16, seed: int = 0) -> Batch:
    """Transitions of a task with three observations and two actions."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((size, 3), (size, 2), (size,), (size,), (size, 3))
    batch = Batch(*(torch.randn(shape, generator=generator) for shape in shapes))
    return batch._replace(action=batch.action.tanh(), discount=torch.full((size,), 0.9))


def scramble(*networks: nn.Module) -> None:
    """Draw their weights far from the near-zero start, where gradients all but vanish."""
    for network in networks:
        for parameter in network.parameters():
            parameter.data.uniform_(-0.7, 0.7)


def weights(network: nn.Module) -> torch.Tensor:
    """All of a network in one vector."""
    return nn.utils.parameters_to_vector(network.parameters()).detach().clone()


def step_of(network: nn.Module, algorithm: Any, batch: Batch | Sample) -> torch.Tensor:
    """How far an update of the algorithm moves the network's weights."""
    before = weights(network)
    algorithm.update(batch)
    return weights(network) - before


def steps_for_saturation(with_cost: Any, without: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """How much otherwise the actor moves with a cost of 0.5 on the squared pre-tanh action, and minus its gradient."""
    batch = random_batch()
    cost = 0.5 * torch.atanh(with_cost.actor(batch.obs)).square().mean()
    gradient = torch.autograd.grad(cost, list(with_cost.actor.parameters()))
    moved = step_of(with_cost.actor, with_cost, batch) - step_of(without.actor, without, batch)
    return moved, -torch.cat([part.flatten() for part in gradient])
