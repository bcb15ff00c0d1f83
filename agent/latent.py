"""What the agent sees: the camera image as a latent z, and the state vector that the car itself will assemble."""

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict
from jaxtyping import Float
from torch import Tensor

from deploy.observation import StateVector
from perception.sight import Sight

HISTORY = 2  # executed actions in the state vector
FREE = 4.0  # how far speed moves in a control period: no limit, as all of it is from -1 to 1
MIRROR_ACTION = np.array([-1, 1], np.float32)  # left becomes right, speed stays
MIRROR_STATE = np.concatenate([-MIRROR_ACTION, np.tile(MIRROR_ACTION, HISTORY)])  # speed stays, steering turns


class LatentState(gymnasium.Wrapper):
    """Flattens (image, state) to one vector: the mean of q(z|image), speed, steering, the last executed actions.

    encoder: has `encode_mean(images uint8 (1, H, W, 3)) -> z (1, Z)`; runs on the CPU.
    Observation: Box (latent + state,) float32. info["executed"] is the action that the motors really got, (2,) float32.
    """

    def __init__(self, env: gymnasium.Env, encoder: Sight) -> None:
        super().__init__(env)
        vehicle = env.get_wrapper_attr("vehicle")
        self.encoder = encoder
        self.state = StateVector(vehicle.top_speed_mps, vehicle.max_steering_rad, HISTORY)
        self.image = camera(env)
        size = len(self._encode(self.image.sample())) + self.state.size
        self.observation_space = Box(-np.inf, np.inf, (size,), np.float32)
        self.sizes = size, len(env.action_space.sample())  # of observation and action

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict]:
        """Start an episode with an empty memory of actions."""
        obs, info = self.env.reset(**kwargs)
        self.state.reset()
        return self._flatten(obs), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Drive one control period."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        executed = obs["state"][2:4]
        self.state.executed(executed)
        return self._flatten(obs), float(reward), terminated, truncated, info | {"executed": executed}

    def _flatten(self, obs: dict[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([self._encode(obs["image"]), self.state.assemble(*obs["state"][:2])])

    def _encode(self, image: np.ndarray) -> np.ndarray:
        return latents(self.encoder, image[None])[0]


def latents(encoder: Sight, images: np.ndarray) -> np.ndarray:
    """The latent's mean for images (n, H, W, 3) uint8; (n, z) float32."""
    with torch.inference_mode():
        return encoder.encode_mean(torch.from_numpy(images)).numpy()


def camera(env: gymnasium.Env) -> Box:
    """The space of the environment's camera images, (H, W, 3) uint8."""
    assert isinstance(env.observation_space, Dict)
    image = env.observation_space["image"]
    assert isinstance(image, Box)
    return image


class RateLimit:
    """What a vehicle makes of an action: steering moves at most `reach` from where it was executed last (see the obs).

    The gradient passes as if there were no limit, so that an actor at the limit still learns which way to go.
    """

    def __init__(self, reach: float) -> None:
        self.reach = torch.tensor([reach, FREE])

    def limited(self, obs: Float[Tensor, "batch obs"], action: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
        """The action that the motors would get after this observation of a `LatentState`; to drive, not to learn."""
        last = obs[:, -2 * HISTORY : -2 * HISTORY + 2]
        return torch.minimum(torch.maximum(action, last - self.reach), last + self.reach)

    def __call__(self, obs: Float[Tensor, "batch obs"], action: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
        """The same with the gradient of what was asked for."""
        return action + (self.limited(obs, action) - action).detach()
