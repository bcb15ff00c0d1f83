"""Every environment looks alike to an algorithm: flat observations, actions in [-1, 1], and a line where it cannot."""

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, Sequence, Space
from torch import nn

from agent.sync.tasks import TaskError, evaluate, image_shape, layout_of, make_task, random_returns, rollout

FLAT = Box(-1, 1, (2,), np.float64)


class Countdown(gymnasium.Env):
    """Rewards 1, 2, … for each of three steps, remembers seeds and actions; its spaces are what a test asks for."""

    def __init__(self, actions: Space, observations: Space = FLAT) -> None:
        self.action_space, self.observation_space = actions, observations
        self.seeds: list[int | None] = []
        self.got: list[np.ndarray] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        self.got.append(action)
        self.steps += 1
        return self.observation_space.sample(), float(self.steps), self.steps == 3, False, {}


@pytest.fixture
def made() -> Iterator[Callable[..., gymnasium.Env]]:
    """Makes a task of a Countdown with the given spaces."""

    def make(actions: Space, observations: Space = FLAT) -> gymnasium.Env:
        kwargs = {"actions": actions, "observations": observations}
        gymnasium.registry.pop("Countdown-v0", None)
        gymnasium.register("Countdown-v0", Countdown, disable_env_checker=True, kwargs=kwargs)
        return make_task("Countdown-v0")

    yield make
    gymnasium.registry.pop("Countdown-v0", None)


def inner(env: gymnasium.Env) -> Countdown:
    assert isinstance(env.unwrapped, Countdown)
    return env.unwrapped


def test_actions_are_rescaled_from_the_environments_own_bounds(made):
    env = made(Box(np.array([-2.0, 0.0]), np.array([6.0, 1.0]), dtype=np.float64))
    assert env.action_space == Box(-1, 1, (2,), np.float32)
    env.reset(seed=0)
    for action in ([-1, -1], [0, 0], [1, 1]):
        env.step(np.array(action, np.float32))
    assert np.array(inner(env).got).tolist() == [[-2, 0], [2, 0.5], [6, 1]]


def test_actions_of_any_shape_are_flat(made):
    env = made(Box(-3, 3, (2, 2), np.float32))
    assert env.action_space.shape == (4,)
    env.reset(seed=0)
    env.step(np.array([-1, 0, 1, 0], np.float32))
    assert inner(env).got[0].tolist() == [[-3, 0], [3, 0]]


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (Box(0, 255, (2, 3, 3), np.uint8), 18),
        (Box(-np.inf, np.inf, (5,), np.float64), 5),
        (Dict(b=Box(0, 1, (2,), np.float64), a=Box(5, 6, (1, 3), np.float32)), 5),
    ],
)
def test_observations_are_flat_float32(made, space, size):
    env = made(Box(-1, 1, (1,), np.float32), space)
    obs, _ = env.reset(seed=0)
    assert (obs.shape, obs.dtype, env.observation_space.shape) == ((size,), np.float32, (size,))
    obs, *_ = env.step(np.zeros(1, np.float32))
    assert (obs.shape, obs.dtype) == ((size,), np.float32)


def test_a_dict_is_flattened_in_the_order_of_its_space(made):
    actions, parts = (
        Box(-1, 1, (1,), np.float32),
        {"b": Box(0, 1, (2,), np.float64), "a": Box(5, 6, (1, 3), np.float32)},
    )
    for space, expected in ((Dict(**parts), [0, 0, 5, 5, 5]), (Dict(parts), [5, 5, 5, 0, 0])):  # a dict gets sorted
        obs, _ = made(actions, space).reset(seed=0)
        assert np.floor(obs).tolist() == expected


@pytest.mark.parametrize(
    ("spaces", "said"),
    [
        ((Discrete(3),), "Discrete(3)"),
        ((Box(-np.inf, np.inf, (1,), np.float32),), "finite bounds"),
        ((Box(np.array([0.0, -np.inf]), np.array([1.0, 1.0]), dtype=np.float64),), "finite bounds"),
        ((Box(0, 9, (1,), np.int64),), "Box of floats"),
        ((Box(np.array([0.0, 1.0]), np.array([1.0, 1.0]), dtype=np.float64),), "Countdown-v0"),
        ((Box(-1, 1, (1,), np.float32), Sequence(Discrete(2))), "observations"),
    ],
)
def test_what_cannot_be_learned_is_said_in_one_line(made, spaces, said):
    with pytest.raises(TaskError) as caught:
        made(*spaces)
    assert caught.value.exit_code == 2
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ("Pendulm-v1", "Did you mean: `Pendulum`"),
        ("Pendulum-v7", "v1"),
        ("no_such_module:Foo-v0", "no_such_module"),
        ("not an id", "Malformed"),
        ("CartPole-v1", "Discrete(2)"),
    ],
)
def test_an_unknown_environment_is_said_with_gymnasiums_suggestion(env, said):
    with pytest.raises(TaskError, match="environment") as caught:
        make_task(env)
    assert said in str(caught.value)
    assert env in str(caught.value)


def test_the_time_limit_may_be_set():
    env = make_task("Pendulum-v1", episode_steps=7)
    assert len(rollout(env, lambda obs: np.zeros(1, np.float32), seed=0)) == 7


def test_the_observation_may_tell_how_much_of_the_episode_is_over():
    env = make_task("Pendulum-v1", episode_steps=4, time_aware=True)
    plain, _ = make_task("Pendulum-v1").reset(seed=0)
    obs, _ = env.reset(seed=0)
    seen = [obs, *(env.step(np.zeros(1, np.float32))[0] for _ in range(4))]
    assert [float(obs[-1]) for obs in seen] == [0, 0.25, 0.5, 0.75, 1]
    assert env.observation_space.shape == (4,)
    assert seen[0][:-1].tolist() == plain.tolist()
    assert env.reset(seed=1)[0][-1] == 0


def test_the_time_is_a_part_of_a_dict_that_has_its_own_layer():
    env = make_task("sim:LaneFollowing-v0", episode_steps=50, time_aware=True)
    layout = layout_of(env, {"state": 1, "time": 1}, features=8, action_layer=0)
    assert layout.pieces == ((8, 0), (4, 1), (1, 1))


def test_time_is_not_told_where_episodes_do_not_time_out(made):
    made(Box(-1, 1, (1,), np.float32))
    with pytest.raises(TaskError, match="expected episode_steps"):
        make_task("Countdown-v0", time_aware=True)


class Proud(nn.Module):
    """Always +1."""

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(obs), 1)


def test_an_evaluation_drives_an_episode_per_seed_without_noise(made):
    env = made(Box(-1, 1, (1,), np.float32))
    returns, lengths = evaluate(Proud(), env, [11, 12])
    assert returns.tolist() == [6.0, 6.0]  # 1 + 2 + 3
    assert lengths.tolist() == [3, 3]
    assert inner(env).seeds == [11, 12]
    assert np.unique(inner(env).got).tolist() == [1.0]


def test_random_returns_are_discounted_from_every_step(made):
    env = made(Box(-1, 1, (1,), np.float32))
    assert random_returns(env, 0.5, [1]).tolist() == [3.0, 3.5, 2.75]  # 3, 2 + 3/2, 1 + 2/2 + 3/4
    assert len(np.unique(inner(env).got)) == 3


CAMERA = Box(0, 255, (8, 6, 3), np.uint8)
ONE = Box(-1, 1, (1,), np.float32)


def test_a_camera_image_is_found_among_the_parts(made):
    state = Box(-1, 1, (3,), np.float32)
    assert image_shape(made(ONE, Dict(image=CAMERA, state=state))) == (8, 6, 3)
    assert image_shape(made(ONE, CAMERA)) == (8, 6, 3)
    assert image_shape(made(ONE, state)) is None
    for spaces in (Dict(a=CAMERA, b=CAMERA), Dict(a=state, image=CAMERA)):
        with pytest.raises(TaskError, match="expected one, in the first place"):
            image_shape(made(ONE, spaces))


def test_parts_enter_the_layers_they_were_given(made):
    env = made(ONE, Dict(image=CAMERA, speed=Box(-1, 1, (1,), np.float32), state=Box(-1, 1, (3,), np.float32)))
    layout = layout_of(env, {"state": 1}, features=50, action_layer=2)
    assert layout.pieces == ((50, 0), (1, 0), (3, 1))
    assert layout.action == 2
    assert layout_of(env, {}, features=50, action_layer=0).pieces == ()
    with pytest.raises(TaskError, match="no stat in the observation; expected parts out of image, speed, state"):
        layout_of(env, {"stat": 1}, features=50, action_layer=0)
