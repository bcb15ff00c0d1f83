"""Any Gymnasium environment as the algorithms see it: flat float32 observations, actions in [-1, 1]."""

from collections.abc import Callable

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Space
from gymnasium.wrappers import (
    FlattenObservation,
    RescaleAction,
    TimeAwareObservation,
    TransformAction,
    TransformObservation,
)
from torch import nn

from agent.networks import Layout
from agent.noise import greedy

Act = Callable[[np.ndarray], np.ndarray]


class TaskError(ValueError):
    """There is no such environment, or it is none that a deterministic policy gradient can learn."""

    exit_code = 2


def make_task(env: str, episode_steps: int | None = None, time_aware: bool = False) -> gymnasium.Env:
    """Make the environment of that id, with observations (o,) float32 and actions (a,) in [-1, 1].

    A Dict of observations is flattened in the order of its space; `unflattened` tells its parts. With `time_aware` one
    part more, "time", is how much of the episode is over, in [0, 1]. Raises TaskError when there is no such
    environment, its actions are not a Box with finite bounds, or the time is asked for and its episodes have no end.
    """
    if env.startswith((".", ":")):
        raise TaskError(f"environment {env}: expected ID or MODULE:ID")
    try:
        made = gymnasium.make(env, max_episode_steps=episode_steps)
        return _flat(_with_time(made, env) if time_aware else made, env)
    except (gymnasium.error.Error, ImportError) as error:
        raise TaskError(f"environment {env}: {error}") from error


def _with_time(made: gymnasium.Env, env: str) -> gymnasium.Env:
    """Time-aware observations (Pardo 2018, section 3)."""
    if made.spec is None or made.spec.max_episode_steps is None:
        raise TaskError(f"environment {env}: its episodes do not time out; expected episode_steps with time_aware")
    return TimeAwareObservation(made, flatten=False, normalize_time=True)


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
    flat = _Flattened(made)
    size = flat.observation_space.shape
    single = TransformObservation(flat, lambda obs: obs.astype(np.float32), Box(-np.inf, np.inf, size, np.float32))
    ones = np.ones_like(actions.low)
    unit = Box(-1, 1, (ones.size,), np.float32)
    return TransformAction(RescaleAction(single, -ones, ones), lambda action: action.reshape(ones.shape), unit)


class _Flattened(FlattenObservation):
    """Remembers what its observations were before."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.unflattened = env.observation_space


def parts(env: gymnasium.Env) -> dict[str, Space]:
    """The parts of a task's observations in their order, named if they are those of a Dict."""
    space = env.get_wrapper_attr("unflattened") if env.has_wrapper_attr("unflattened") else env.observation_space
    return dict(space.spaces) if isinstance(space, Dict) else {"": space}


def image_shape(env: gymnasium.Env) -> tuple[int, int, int] | None:
    """(H, W, C) of the camera image among a task's observations, None if there is none.

    Raises TaskError when there are several, or the image is not the first part, where the encoder looks for it.
    """
    spaces = parts(env)
    found = [name for name, space in spaces.items() if len(space.shape or ()) == 3 and space.dtype == np.uint8]
    if not found:
        return None
    if found != list(spaces)[:1]:
        raise TaskError(f"images {', '.join(found)} among {', '.join(spaces)}; expected one, in the first place")
    height, width, channels = spaces[found[0]].shape  # type: ignore[misc]
    return height, width, channels


def layout_of(env: gymnasium.Env, layers: dict[str, int], features: int, action_layer: int) -> Layout:
    """Where the parts of a task's observations enter the networks; an image is `features` numbers by then.

    Raises TaskError when `layers` names a part that is not there.
    """
    sizes = {name: gymnasium.spaces.flatdim(space) for name, space in parts(env).items()}
    if unknown := layers.keys() - sizes.keys():
        raise TaskError(f"no {', '.join(sorted(unknown))} in the observation; expected parts out of {', '.join(sizes)}")
    if image_shape(env):
        sizes[next(iter(sizes))] = features
    pieces = tuple((size, layers.get(name, 0)) for name, size in sizes.items()) if layers else ()
    return Layout(pieces, action_layer)


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
