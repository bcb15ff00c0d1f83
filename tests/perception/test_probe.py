"""What a latent knows, in cases whose answer is known."""

import numpy as np
import pytest

from perception.probe import ridge_r2


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_label_that_is_linear_in_the_latents_is_read_perfectly(rng: np.random.Generator) -> None:
    x = rng.standard_normal((500, 4)).astype(np.float32)
    y = x @ np.array([[1.0, 0], [-2, 0], [0, 3], [0, 0]], np.float32) + 7
    assert ridge_r2(x[:400], y[:400], x[400:], y[400:]) == pytest.approx([1, 1], abs=1e-4)


def test_half_noise_is_half_known(rng: np.random.Generator) -> None:
    x = rng.standard_normal((20_000, 1))
    y = x + rng.standard_normal((20_000, 1))  # variance 2, of which 1 is in x
    assert ridge_r2(x[:10_000], y[:10_000], x[10_000:], y[10_000:]) == pytest.approx([0.5], abs=0.03)


def test_latents_that_never_vary_know_nothing() -> None:
    x, y = np.ones((4, 2)), np.array([[1.0], [3], [1], [3]])
    assert ridge_r2(x, y, x, y) == pytest.approx([0])


def test_the_mean_of_other_samples_is_worse_than_nothing() -> None:
    x, y = np.ones((2, 1)), np.array([[1.0], [3]])  # predicts 2; held mean 5: 1 − (4 + 16) / (1 + 1)
    assert ridge_r2(x, y, x, np.array([[4.0], [6]])) == pytest.approx([-9])
