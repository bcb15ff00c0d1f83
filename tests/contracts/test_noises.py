"""What every kind of exploration promises: bounded, reproducible, without memory, and harmless to the actor."""

import json
from pkgutil import resolve_name
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from torch import nn

from agent.noise import CONFIGS, NOISES, Explorer, NoiseError, RandomStart, greedy, load_noise

SIZE = 2
OBS = np.random.default_rng(7).standard_normal((80, 3)).astype(np.float32)
NOISY = [name for name in NOISES if name != "none"]
every_noise = pytest.mark.parametrize("name", [*NOISES, "random start"])
every_real_noise = pytest.mark.parametrize("name", [*NOISY, "random start"])


def actor(seed: int = 0, gain: float = 1.0) -> nn.Module:
    torch.manual_seed(seed)
    last = nn.Linear(16, SIZE)
    nn.init.uniform_(last.weight, -0.1 * gain, 0.1 * gain)
    return nn.Sequential(nn.Linear(3, 16), nn.LayerNorm(16), nn.ReLU(), last, nn.Tanh())


def explorer(name: str, seed: int = 0, **options: Any) -> Explorer:
    rng = np.random.default_rng(seed)
    if name == "random start":
        return RandomStart(explorer("ou", seed), 75, SIZE, rng)
    return load_noise(name)(resolve_name(CONFIGS[name])(), SIZE, rng, **options)


def episode(explorer: Explorer, policy: nn.Module, number: int = 0, steps: int = 80) -> np.ndarray:
    explorer.begin(policy, number)
    return np.array([explorer.act(policy, obs) for obs in OBS[:steps]])


def mu(policy: nn.Module) -> np.ndarray:
    return policy(torch.from_numpy(OBS)).detach().numpy()


@every_noise
@pytest.mark.parametrize("gain", [1.0, 1000.0])
def test_actions_are_bounded_vectors_of_float32(name, gain):
    exploring, policy = explorer(name), actor(gain=gain)
    exploring.begin(policy, 0)
    for obs in OBS:
        action = exploring.act(policy, obs)
        assert action.shape == (SIZE,)
        assert action.dtype == np.float32
        assert np.abs(action).max() <= 1


@every_real_noise
def test_it_explores(name):
    tried = episode(explorer(name), actor())
    assert 0.02 < np.sqrt(np.mean((tried - mu(actor())) ** 2)) < 0.8


@every_noise
def test_the_same_generator_tries_the_same(name):
    one, same, other = (episode(explorer(name, seed), actor()) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert np.array_equal(one, other) == (name == "none")


@every_noise
def test_the_global_generators_are_left_alone(name):
    policy, torch_before, numpy_before = actor(), torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    episode(explorer(name), policy)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


@pytest.mark.parametrize("name", NOISES)
def test_an_episode_forgets_the_one_before(name):
    used, fresh = explorer(name, seed=1), explorer(name, seed=1)
    episode(used, actor(3), steps=20)
    if name != "none":
        used.rng.bit_generator.state = fresh.rng.bit_generator.state
    assert np.array_equal(episode(used, actor(), steps=20), episode(fresh, actor(), steps=20))


@every_noise
def test_the_actor_is_untouched_and_so_is_its_evaluation(name):
    policy = actor()
    before = mu(policy)
    episode(explorer(name), policy)
    assert np.array_equal(mu(policy), before)
    alone = np.array([greedy(policy, obs) for obs in OBS])
    assert alone == pytest.approx(before, abs=1e-6)
    assert all(parameter.requires_grad for parameter in policy.parameters())


@every_noise
def test_restored_from_json_it_explores_on_as_if_nothing_had_been(name):
    exploring, restored = explorer(name, seed=1), explorer(name, seed=2)
    episode(exploring, actor(), 0, steps=70)
    restored.restore(json.loads(json.dumps(exploring.state())))
    for number in (1, 2):
        assert np.array_equal(episode(exploring, actor(), number), episode(restored, actor(), number))


@pytest.mark.parametrize("name", NOISY)
def test_its_strength_is_proportional_to_its_scale(name):
    def strength(scale: float) -> float:
        exploring = explorer(name, scale=scale)
        runs = [episode(exploring, actor(gain=0.1), steps=5) for _ in range(40)]
        return np.std(runs - mu(actor(gain=0.1))[:5])

    assert strength(0.125) == pytest.approx(0.25 * strength(0.5), rel=0.25)


def test_without_noise_the_actor_drives_as_it_is():
    assert episode(explorer("none"), actor()) == pytest.approx(mu(actor()), abs=1e-6)


@pytest.mark.parametrize("name", NOISES)
def test_its_config_is_the_one_that_its_class_takes(name):
    assert get_type_hints(load_noise(name).__init__)["config"] is resolve_name(CONFIGS[name])


def test_an_unknown_noise_is_told_with_those_there_are():
    with pytest.raises(NoiseError, match="'pink'; expected one of none, gaussian, ou, parameter"):
        load_noise("pink")
