"""The exploration noise has the statistics that the paper's recursion implies."""

import numpy as np
import pytest

from agent.noise import OrnsteinUhlenbeck, OrnsteinUhlenbeckConfig

PAPER = OrnsteinUhlenbeckConfig(theta=0.6, sigma=0.4, half_life=250)


def drawn(noise: OrnsteinUhlenbeck, steps: int) -> np.ndarray:
    return np.array([noise() for _ in range(steps)])


def test_the_papers_numbers_settle_at_0_44_with_autocorrelation_0_4():
    samples = drawn(OrnsteinUhlenbeck(PAPER, 2, np.random.default_rng(0)), 40_000)[50:]
    assert samples.mean(axis=0) == pytest.approx([0, 0], abs=0.02)
    assert samples.std(axis=0) == pytest.approx([0.4364, 0.4364], rel=0.02)  # 0.4 / √(1.2 − 0.36)
    for axis in samples.T:
        assert np.corrcoef(axis[:-1], axis[1:])[0, 1] == pytest.approx(0.4, abs=0.02)
    assert np.corrcoef(samples.T)[0, 1] == pytest.approx(0, abs=0.03)


def test_the_first_kick_is_sigma_and_then_theta_pulls_back():
    kicks = np.random.default_rng(3).standard_normal((2, 2))
    first, second = drawn(OrnsteinUhlenbeck(PAPER, 2, np.random.default_rng(3)), 2)
    assert first == pytest.approx(0.4 * kicks[0])
    assert second == pytest.approx(0.4 * 0.4 * kicks[0] + 0.4 * kicks[1])


@pytest.mark.parametrize(("episode", "share"), [(0, 1.0), (125, 2**-0.5), (250, 0.5), (500, 0.25)])
def test_sigma_halves_every_half_life(episode, share):
    noise = OrnsteinUhlenbeck(PAPER, 1, np.random.default_rng(0))
    noise.reset(episode)
    fresh = OrnsteinUhlenbeck(PAPER, 1, np.random.default_rng(0))
    assert drawn(noise, 5) == pytest.approx(share * drawn(fresh, 5))


def test_an_episode_begins_at_zero():
    noise, rng = OrnsteinUhlenbeck(PAPER, 2, np.random.default_rng(1)), np.random.default_rng(1)
    drawn(noise, 10)
    rng.standard_normal(20)
    noise.reset(0)
    assert noise() == pytest.approx(0.4 * rng.standard_normal(2))


def test_the_same_seed_gives_the_same_noise():
    one, same, other = (OrnsteinUhlenbeck(PAPER, 2, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(drawn(one, 20), twin := drawn(same, 20))
    assert not np.array_equal(twin, drawn(other, 20))


def test_what_was_drawn_stays_as_it_was():
    noise = OrnsteinUhlenbeck(PAPER, 2, np.random.default_rng(0))
    first = noise()
    kept = first.copy()
    noise()
    assert np.array_equal(first, kept)
