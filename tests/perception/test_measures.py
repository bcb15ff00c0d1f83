"""Figures in cases whose answer is known."""

import math

import numpy as np
import pytest
import torch

from perception.measures import active_units, psnr_db, ridge_r2, ssim


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


@pytest.mark.parametrize(("mse", "expected"), [(1.0, 0), (0.01, 20), (0.001, 30), (0.25, 6.0206), (0.0, math.inf)])
def test_psnr_by_hand(mse: float, expected: float) -> None:
    assert psnr_db(mse) == pytest.approx(expected, abs=1e-4)


def test_units_whose_mean_varies_are_active() -> None:
    sign = torch.tensor([1.0, -1]).repeat(50)
    mu = torch.stack([sign, 0.2 * sign, 0.05 * sign, torch.full((100,), 7.0)], dim=1)  # variances 1, 0.04, 0.0025, 0
    assert active_units(mu) == 2


def test_ssim_of_flat_pictures_by_hand() -> None:
    dark, bright = np.full((16, 16), 0.2), np.full((16, 16), 0.6)
    assert ssim(dark, dark) == pytest.approx(1.0)
    assert ssim(dark, bright) == pytest.approx((2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4))  # no variance: luminance alone


def test_a_label_that_never_varies_has_no_r2(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((10, 2)), np.ones((10, 1))
    assert np.isnan(ridge_r2(x, y, x, y)).all()
