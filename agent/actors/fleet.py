"""Cars that drive side by side in one process: what all of them see is encoded in one batch."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from jaxtyping import Float, UInt8

from agent.latent import HISTORY, MIRROR_STATE
from deploy.observation import StateVector
from deploy.policy import session_of

Encode = Callable[[UInt8[np.ndarray, "n h w 3"]], Float[np.ndarray, "n z"]]


class Step(NamedTuple):
    """What a car went through in a control period; `executed` is the action that its motors really got, (2,)."""

    executed: np.ndarray
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


def encode_by(graph: bytes) -> Encode:
    """What `perception.graph.encoder_graph` returned, as a function."""
    session = session_of(graph)

    def encode(images: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n z"]:
        (z,) = session.run(["z"], {"image": images})
        return np.asarray(z)

    return encode


class Fleet:
    """Some environments, each with the camera image and measurements of one car.

    What it sees of a car is (latent + state,) float32: the mean of q(z|image), speed, steering, the last executed
    actions, as in LatentState.
    """

    def __init__(self, envs: Sequence[gymnasium.Env], encode: Encode) -> None:
        self.envs, self._encode = envs, encode
        vehicles = [env.get_wrapper_attr("vehicle") for env in envs]
        self._vectors = [StateVector(car.top_speed_mps, car.max_steering_rad, HISTORY) for car in vehicles]
        self._frames: list[np.ndarray] = [np.empty(0)] * len(envs)
        self._states: list[np.ndarray] = [np.empty(0)] * len(envs)

    def __len__(self) -> int:
        return len(self.envs)

    def begin(self, car: int, distance_m: float, seed: int | None = None) -> None:
        """Put a car on the road, that far along it, with an empty memory of actions."""
        obs, _ = self.envs[car].reset(seed=seed, options={"distance_m": distance_m})
        self._vectors[car].reset()
        self._note(car, obs)

    def step(self, car: int, action: np.ndarray) -> Step:
        """Drive one car for one control period."""
        obs, reward, terminated, truncated, info = self.envs[car].step(action)
        executed = obs["state"][2:4]
        self._vectors[car].executed(executed)
        self._note(car, obs)
        return Step(executed, float(reward), terminated, truncated, info)

    def see(self, cars: Sequence[int], mirrored: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """What these cars see, and what those would on the mirrored road: image flipped, steering negated."""
        images = [self._frames[car] for car in cars] + [self._frames[car][:, ::-1] for car in mirrored]
        states = [self._states[car] for car in cars] + [self._states[car] * MIRROR_STATE for car in mirrored]
        obs = np.concatenate([self._encode(np.stack(images)), np.stack(states)], axis=1)
        return obs[: len(cars)], obs[len(cars) :]

    def close(self) -> None:
        """Take the cars off the road."""
        for env in self.envs:
            env.close()

    def _note(self, car: int, obs: dict[str, np.ndarray]) -> None:
        self._frames[car], self._states[car] = obs["image"], self._vectors[car].assemble(*obs["state"][:2])
