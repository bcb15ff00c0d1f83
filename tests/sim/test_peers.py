"""Stable-Baselines3 accepts the environment and learns in it."""

import warnings
from collections.abc import Callable, Iterator

import gymnasium
import numpy as np
import pytest

from sim.wrappers import FrameStack, LaneState

pytest.importorskip("stable_baselines3")
torch = pytest.importorskip("torch")

from stable_baselines3 import TD3  # noqa: E402 (only where it is installed)
from stable_baselines3.common.env_checker import check_env  # noqa: E402
from stable_baselines3.common.env_util import make_vec_env  # noqa: E402

ID = "sim:LaneFollowing-v0"
VIEWS: dict[str, Callable[[gymnasium.Env], gymnasium.Env]] = {
    "plain": lambda env: env,
    "lane state": LaneState,
    "four frames": lambda env: FrameStack(env, 4),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As everywhere: more threads than cores are slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("options", [{}, {"scenario": "wild", "roads": "held_in"}, {"grayscale": True}], ids=str)
def test_its_checker_is_content(view, options):
    env = view(gymnasium.make(ID, length_m=60.0, **options))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, warn=False)
    env.close()


def test_its_checker_warns_of_nothing():
    env = gymnasium.make(ID, length_m=60.0, image_size=(64, 64))
    check_env(env, warn=True)  # a warning is an error here
    env.close()


def learn(env: gymnasium.Env, policy: str, **network) -> None:
    """Let TD3 take 300 steps, and see that it learned something and drives within the limits."""
    agent = TD3(
        policy,
        env,
        learning_starts=100,
        batch_size=16,
        buffer_size=400,
        train_freq=10,
        gradient_steps=2,
        policy_kwargs={"net_arch": [32], **network},
        seed=0,
        device="cpu",
    )
    before = [weights.detach().clone() for weights in agent.actor.parameters()]
    agent.learn(total_timesteps=300)
    assert agent.num_timesteps >= 300
    assert any(not torch.equal(old, new) for old, new in zip(before, agent.actor.parameters(), strict=True))
    obs, _ = env.reset(seed=1)
    action, _ = agent.predict(obs, deterministic=True)
    assert env.action_space.contains(action)
    assert np.isfinite(env.step(action)[1])
    env.close()


def test_td3_learns_from_what_the_simulator_knows():
    learn(LaneState(gymnasium.make(ID, length_m=60.0, image_size=(1, 1))), "MlpPolicy")


def test_td3_learns_from_images():
    env = gymnasium.make(ID, scenario="wild", roads="held_in", length_m=60.0, image_size=(36, 36))
    learn(env, "MultiInputPolicy", features_extractor_kwargs={"cnn_output_dim": 16})


def test_its_vector_environment_drives_several_cars():
    envs = make_vec_env(ID, n_envs=2, seed=3, env_kwargs={"length_m": 60.0, "image_size": (36, 36)})
    obs = envs.reset()
    assert obs["image"].shape in ((2, 36, 36, 3), (2, 3, 36, 36))
    for _ in range(60):
        _, rewards, dones, infos = envs.step(np.tile(np.float32([1.0, 1.0]), (2, 1)))
        assert np.isfinite(rewards).all()
        for done, info in zip(dones, infos, strict=True):
            assert done == (info["disengagement"] is not None)
    envs.close()
