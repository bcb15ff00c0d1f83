"""Any Gymnasium environment as the algorithms see it: flat float32 observations, actions in [-1, 1]."""

from collections.abc import Callable

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import FlattenObservation, RescaleAction, TransformAction, TransformObservation
from torch import nn

from agent.noise import greedy

Act = Callable[[np.ndarray], np.ndarray]


class TaskError(ValueError):
    """There is no such environment, or it is none that a deterministic policy gradient can learn."""

    exit_code = 2


def make_task(env: str, episode_steps: int | None = None) -> gymnasium.Env:
    """Make the environment of that id, with observations (o,) float32 and actions (a,) in [-1, 1].

    A Dict of observations is flattened in the order of its space. Raises TaskError when there is no such
    environment, or its actions are not a Box with finite bounds.
    """
    try:
        made = gymnasium.make(env, max_episode_steps=episode_steps)
        return _flat(made, env)
    except (gymnasium.error.Error, ImportError) as error:
        raise TaskError(f"environment {env}: {error}") from error


def _flat(made: gymnasium.Env, env: str) -> gymnasium.Env:
    actions, observations = made.action_space, made.observation_space
    if not (isinstance(actions, Box) and np.issubdtype(actions.dtype, np.floating)):
        raise TaskError(f"environment {env}: its actions are {actions}; expected a Box of floats")
    if not (actions.is_bounded() and (actions.low < actions.high).all()):
        raise TaskError(
            f"environment {env}: its actions are {actions}; expected finite bounds, the lower below the upper"
        )
    if not observations.is_np_flattenable:
        raise TaskError(f"environment {env}: its observations are {observations}; expected a space of fixed size")
    flat = FlattenObservation(made)
    size = flat.observation_space.shape
    single = TransformObservation(flat, lambda obs: obs.astype(np.float32), Box(-np.inf, np.inf, size, np.float32))
    ones = np.ones_like(actions.low)
    unit = Box(-1, 1, (ones.size,), np.float32)
    return TransformAction(RescaleAction(single, -ones, ones), lambda action: action.reshape(ones.shape), unit)


def rollout(env: gymnasium.Env, act: Act, seed: int) -> np.ndarray:
    """The rewards of one episode, (steps,) float64."""
    obs, _ = env.reset(seed=seed)
    rewards, over = [], False
    while not over:
        obs, reward, terminated, truncated, _ = env.step(act(obs))
        rewards.append(float(reward))
        over = terminated or truncated
    return np.array(rewards)


def evaluate(policy: nn.Module, env: gymnasium.Env, seeds: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns and lengths of an episode per seed, driven without noise."""
    episodes = [rollout(env, lambda obs: greedy(policy, obs), seed) for seed in seeds]
    return np.array([rewards.sum() for rewards in episodes]), np.array([len(rewards) for rewards in episodes])


def random_returns(env: gymnasium.Env, gamma: float, seeds: list[int]) -> np.ndarray:
    """The discounted returns from every step of random episodes, one episode per seed; float64."""
    returns = []
    for seed in seeds:
        env.action_space.seed(seed)
        total = 0.0
        for reward in rollout(env, lambda _: env.action_space.sample(), seed)[::-1]:
            total = reward + gamma * total
            returns.append(total)
    return np.array(returns)
