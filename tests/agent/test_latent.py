"""The agent sees the latent's mean, then exactly the state vector that the car assembles."""

import numpy as np
import pytest

from agent.latent import HISTORY, LatentState
from deploy.observation import StateVector
from tests.agent.fakes import Film, FirstPixel


@pytest.fixture
def env():
    return LatentState(Film(), FirstPixel())


def driven(env: LatentState, seed: int, steps: int = 5) -> np.ndarray:
    action = np.zeros(2, np.float32)
    first, _ = env.reset(seed=seed)
    return np.stack([first, *(env.step(action)[0] for _ in range(steps))])


def test_it_is_the_mean_and_so_the_same_every_time(env):
    assert np.array_equal(driven(env, seed=1), driven(LatentState(Film(), FirstPixel()), seed=1))
    assert not np.array_equal(driven(env, seed=1), driven(env, seed=2))


def test_the_latent_is_of_the_image_that_was_seen(env):
    obs = driven(env, seed=0)
    seen = np.stack([shown["image"][0, 0] for shown in env.unwrapped.shown])
    assert obs[:, :3] == pytest.approx(seen / 255)


def test_the_rest_is_what_the_car_assembles(env):
    obs, shown = driven(env, seed=0), env.unwrapped.shown
    car = StateVector(top_speed_mps=5.0, max_steering_rad=0.5, history=HISTORY)
    for step, (row, frame) in enumerate(zip(obs, shown, strict=True)):
        speed_mps, steering_rad, *executed = frame["state"]
        if step > 0:
            car.executed(executed)
        assert np.array_equal(row[3:], car.assemble(speed_mps, steering_rad))


def test_the_vector_by_hand(env):
    obs, (_, first, second) = driven(env, seed=0, steps=2)[2], env.unwrapped.shown
    speed_mps, steering_rad, *newest = second["state"]
    assert obs[3:] == pytest.approx([speed_mps / 5, steering_rad / 0.5, *newest, *first["state"][2:]])


def test_an_episode_starts_with_no_memory_of_the_last(env):
    driven(env, seed=0)
    obs, _ = env.reset(seed=0)
    assert obs[5:].tolist() == [0, -1, 0, -1]  # straight and standing, twice


def test_what_was_executed_is_told(env):
    env.reset(seed=0)
    *_, info = env.step(np.array([1.0, 1.0], np.float32))
    assert np.array_equal(info["executed"], env.unwrapped.shown[-1]["state"][2:])
    assert info["distance_m"] == 1.0


def test_observations_are_what_the_space_says(env):
    obs, _ = env.reset(seed=0)
    assert env.observation_space.shape == (3 + 2 + 2 * HISTORY,)
    assert env.observation_space.contains(obs)
