"""Each kind of noise has the statistics that its equations imply."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from agent.actors.orders import make_noise
from agent.networks import Actor
from agent.noise import NoiseError, OrnsteinUhlenbeck, OrnsteinUhlenbeckConfig, RandomStart, Turns, between, ladder
from agent.noise.explorer import Additive
from agent.noise.gaussian import Gaussian, GaussianConfig
from agent.noise.parameter import ParameterNoise, ParameterNoiseConfig
from agent.training.config import TrainConfig
from tests.agent.fakes import FACTS

PAPER = OrnsteinUhlenbeckConfig(theta=0.6, sigma=0.4, half_life=250)
OBS = np.random.default_rng(7).standard_normal((50, 4)).astype(np.float32)


def ou(config: OrnsteinUhlenbeckConfig = PAPER, size: int = 2, seed: int = 0) -> OrnsteinUhlenbeck:
    return OrnsteinUhlenbeck(config, size, np.random.default_rng(seed))


def drawn(noise: Additive, steps: int) -> np.ndarray:
    return np.array([noise() for _ in range(steps)])


def test_the_papers_numbers_settle_at_0_44_with_autocorrelation_0_4():
    samples = drawn(ou(), 40_000)[50:]
    assert samples.mean(axis=0) == pytest.approx([0, 0], abs=0.02)
    assert samples.std(axis=0) == pytest.approx([0.4364, 0.4364], rel=0.02)  # 0.4 / √(1.2 − 0.36)
    for axis in samples.T:
        assert np.corrcoef(axis[:-1], axis[1:])[0, 1] == pytest.approx(0.4, abs=0.02)
    assert np.corrcoef(samples.T)[0, 1] == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize(
    ("theta", "sigma", "dt", "std", "autocorrelation"),
    [
        (0.15, 0.2, 1.0, 0.3797, 0.85),  # 0.2 / √(0.3 − 0.0225)
        (2.0, 0.3, 0.1, 0.1581, 0.8),  # 0.3 / √(4 − 0.4)
        (15.0, 0.2, 0.01, 0.0380, 0.85),  # the first one in other units of time
    ],
)
def test_with_a_time_step_it_settles_as_the_closed_form_says(theta, sigma, dt, std, autocorrelation):
    noise = ou(OrnsteinUhlenbeckConfig(theta, sigma, None, dt), size=500)
    samples = drawn(noise, 250)[50:]
    assert samples.std() == pytest.approx(std, rel=0.02)
    assert np.mean(samples[:-1] * samples[1:]) / samples.var() == pytest.approx(autocorrelation, abs=0.01)


def test_lillicraps_numbers_at_a_hundredth_are_a_walk_that_has_hardly_begun_to_settle():
    noise = ou(OrnsteinUhlenbeckConfig(0.15, 0.2, None, 0.01), size=20_000)
    variance = 0.2**2 / (0.3 - 0.000225) * (1 - (1 - 0.0015) ** 200)  # after 100 steps, σ²/(2θ−θ²Δt)·(1 − (1−θΔt)²ᵗ)
    assert drawn(noise, 100)[-1].std() == pytest.approx(np.sqrt(variance), rel=0.02)


def test_the_first_kick_is_sigma_and_then_theta_pulls_back():
    kicks = np.random.default_rng(3).standard_normal((2, 2))
    first, second = drawn(ou(seed=3), 2)
    assert first == pytest.approx(0.4 * kicks[0])
    assert second == pytest.approx(0.4 * 0.4 * kicks[0] + 0.4 * kicks[1])


@pytest.mark.parametrize(("episode", "share"), [(0, 1.0), (125, 2**-0.5), (250, 0.5), (500, 0.25)])
def test_sigma_halves_every_half_life(episode, share):
    noise = ou()
    noise.reset(episode)
    assert drawn(noise, 5) == pytest.approx(share * drawn(ou(), 5))


def test_without_half_life_sigma_stays():
    noise = ou(OrnsteinUhlenbeckConfig(half_life=None))
    noise.reset(10_000)
    assert drawn(noise, 5) == pytest.approx(drawn(ou(), 5))


def test_an_episode_begins_at_zero():
    noise, rng = ou(seed=1), np.random.default_rng(1)
    drawn(noise, 10)
    rng.standard_normal(20)
    noise.reset(0)
    assert noise() == pytest.approx(0.4 * rng.standard_normal(2))


def test_what_was_drawn_stays_as_it_was():
    noise = ou()
    first = noise()
    kept = first.copy()
    noise()
    assert np.array_equal(first, kept)


def test_gaussian_noise_is_white_and_its_components_are_independent():
    samples = drawn(Gaussian(GaussianConfig(std=0.3), 2, np.random.default_rng(0)), 40_000)
    assert samples.mean(axis=0) == pytest.approx([0, 0], abs=0.005)
    assert samples.std(axis=0) == pytest.approx([0.3, 0.3], rel=0.02)
    assert np.corrcoef(samples.T)[0, 1] == pytest.approx(0, abs=0.02)
    for axis in samples.T:
        assert np.corrcoef(axis[:-1], axis[1:])[0, 1] == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("half_life", "share"), [(None, 1.0), (50, 0.25)])
def test_gaussian_noise_anneals_only_with_a_half_life(half_life, share):
    noise = Gaussian(GaussianConfig(0.4, half_life), 3, np.random.default_rng(5))
    noise.reset(100)
    assert drawn(noise, 4) == pytest.approx(share * 0.4 * np.random.default_rng(5).standard_normal((4, 3)))


def test_the_first_steps_are_uniform_and_then_the_explorer_takes_over():
    noise, rng = ou(seed=4), np.random.default_rng(0)
    start, policy = RandomStart(noise, 3000, 2, rng), Actor(4, 2, (8,))
    start.begin(policy, 0)
    actions = np.array([start.act(policy, OBS[0]) for _ in range(3000)])
    counts = np.histogram(actions, bins=10, range=(-1, 1))[0]
    assert 1.15 < ((counts - 600) ** 2 / 600).sum() < 27.9  # 9 degrees of freedom: all but 1 in 1000 are in between
    assert np.corrcoef(actions.T)[0, 1] == pytest.approx(0, abs=0.06)
    same = ou(seed=4)
    same.begin(policy, 0)
    assert [start.act(policy, obs).tolist() for obs in OBS] == [same.act(policy, obs).tolist() for obs in OBS]


def layer_normed() -> nn.Module:
    torch.manual_seed(0)
    last = nn.Linear(32, 2)
    last.weight.data.mul_(0.1)
    return nn.Sequential(nn.Linear(4, 32), nn.LayerNorm(32), nn.ReLU(), last, nn.Tanh())


def test_a_ladder_of_six_doubles_from_a_thirty_second_to_one():
    assert [ladder(i, 6) for i in range(6)] == pytest.approx([1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1])
    assert (ladder(0, 50), ladder(49, 50)) == pytest.approx((1 / 32, 1))
    assert ladder(0, 1) == 1


def test_where_nobody_knows_how_many_there_are_each_finds_a_place_between_the_others():
    exponents = [-math.log(between(i), 32) for i in range(7)]
    assert exponents == pytest.approx([1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8, 7 / 8])


def test_cars_on_other_machines_have_noise_of_their_own_between_the_full_one_and_the_least():
    config = TrainConfig(actors=2, envs_per_actor=2)
    noises = [make_noise(config, FACTS, car, life) for car in range(6) for life in (0, 1)]
    exponents = [-math.log(noise.scale, 32) for noise in noises[::2]]
    assert exponents == pytest.approx([0, 1 / 3, 2 / 3, 1, 1 / 2, 1 / 4])
    for noise in noises:
        noise.reset(0)
    assert len({tuple(noise() / noise.scale) for noise in noises}) == 12


def test_actors_take_turns_each_with_its_own_strength():
    size, policy = 4, Actor(4, 4, (8,))
    torch.nn.init.zeros_(policy.body[-1].weight)
    torch.nn.init.zeros_(policy.body[-1].bias)  # μ(s) = 0: what is done is the noise
    rng = np.random.default_rng(0)
    turns = Turns([Gaussian(GaussianConfig(std=0.3), size, rng, scale=ladder(i, 3)) for i in range(3)])

    def strength(episode: int) -> float:
        turns.begin(policy, episode)
        return float(np.std([turns.act(policy, OBS[0]) for _ in range(2000)]))

    assert [strength(episode) for episode in (3, 4, 5)] == pytest.approx([0.3 / 32, 0.3 / 32**0.5, 0.29], rel=0.06)


def test_turns_go_on_where_they_were():
    def turns() -> Turns:
        rng = np.random.default_rng(1)
        return Turns([ParameterNoise(ParameterNoiseConfig(), 2, rng, scale=ladder(i, 2)) for i in range(2)])

    policy = layer_normed()
    one, other = turns(), turns()
    for number in range(3):
        one.begin(policy, number)
        [one.act(policy, obs) for obs in OBS]
    other.restore(json.loads(json.dumps(one.state())))
    for number in (3, 4):
        for these in (one, other):
            these.begin(policy, number)
        assert [one.act(policy, obs).tolist() for obs in OBS] == [other.act(policy, obs).tolist() for obs in OBS]


def distance(noise: ParameterNoise, policy: nn.Module, episodes: int) -> float:
    """Root mean square difference of the explored from the unperturbed actions, over episodes."""
    mu = policy(torch.from_numpy(OBS)).detach().numpy()
    squares = []
    for number in range(episodes):
        noise.begin(policy, number)
        squares += [(np.array([noise.act(policy, obs) for obs in OBS]) - mu) ** 2]
    return float(np.sqrt(np.mean(squares)))


@pytest.mark.parametrize(("sigma", "wanted"), [(0.02, 0.2), (0.5, 0.2), (0.1, 0.03)])
def test_the_distance_of_the_actions_converges_to_the_one_wanted(sigma, wanted):
    config = ParameterNoiseConfig(wanted, sigma, factor=1.2, every=25)
    noise, policy = ParameterNoise(config, 2, np.random.default_rng(0)), layer_normed()
    assert distance(noise, policy, episodes=1) != pytest.approx(wanted, rel=0.5)
    distance(noise, policy, episodes=20)
    assert distance(noise, policy, episodes=40) == pytest.approx(wanted, rel=0.2)


def test_sigma_changes_by_its_factor_every_so_many_steps_over_episodes():
    noise = ParameterNoise(ParameterNoiseConfig(every=20, factor=1.25), 2, np.random.default_rng(0))
    sigmas = []
    for number in range(4):
        noise.begin(layer_normed(), number)
        for obs in OBS[:15]:
            noise.act(layer_normed(), obs)
            sigmas.append(noise.sigma)
    changes = [after / before for before, after in pairwise(sigmas)]
    changed = [step for step, change in enumerate(changes, start=1) if change != 1]
    assert changed == [19, 39, 59]
    assert all(changes[step - 1] in (pytest.approx(1.25), pytest.approx(0.8)) for step in changed)


def test_one_perturbation_drives_the_whole_episode_and_another_the_next():
    noise, policy = ParameterNoise(ParameterNoiseConfig(), 2, np.random.default_rng(0)), layer_normed()
    noise.begin(policy, 0)
    first, again = noise.act(policy, OBS[0]), noise.act(policy, OBS[0])
    noise.begin(policy, 1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, noise.act(policy, OBS[0]))


def test_every_weight_is_perturbed_by_sigma_but_those_of_the_norms():
    noise, policy = ParameterNoise(ParameterNoiseConfig(sigma=0.3), 2, np.random.default_rng(0)), Actor(50, 2, (100,))
    noise.begin(policy, 0)
    assert noise._perturbed is not None
    for module, perturbed in zip(policy.modules(), noise._perturbed.modules(), strict=True):
        if isinstance(module, nn.LayerNorm):
            assert torch.equal(module.weight, perturbed.weight)
        elif isinstance(module, nn.Linear):
            assert (perturbed.weight - module.weight).std().item() == pytest.approx(0.3, rel=0.15)
            assert not torch.any(perturbed.bias == module.bias)


def test_an_actor_without_layer_norm_is_refused():
    noise = ParameterNoise(ParameterNoiseConfig(), 2, np.random.default_rng(0))
    with pytest.raises(NoiseError, match="needs an actor with LayerNorm"):
        noise.begin(nn.Sequential(nn.Linear(4, 2), nn.Tanh()), 0)


def test_what_encodes_images_is_neither_perturbed_nor_taken_for_the_actor():
    encoder = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    noise = ParameterNoise(ParameterNoiseConfig(sigma=0.3), 2, np.random.default_rng(0))
    noise.begin(policy := nn.Sequential(encoder, Actor(3, 2, (8,), norm="layer")), 0)
    assert noise._perturbed is not None
    encoders = zip(encoder.parameters(), noise._perturbed[0].parameters(), strict=True)
    assert all(torch.equal(before, after) for before, after in encoders)
    assert not torch.equal(policy[1].body[0].weight, noise._perturbed[1].body[0].weight)
    with pytest.raises(NoiseError, match="needs an actor with LayerNorm"):
        noise.begin(nn.Sequential(encoder, Actor(3, 2, (8,), norm="none")), 0)
