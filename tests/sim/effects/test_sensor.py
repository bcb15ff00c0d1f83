"""Exposure wanders, white balance tints, lamps flicker and grain is grain."""

import numpy as np
import pytest

from sim.effects import Motion
from sim.effects.sensor import Exposure, Flicker, Noise, WhiteBalance
from sim.look import Look
from sim.spec import CameraSpec

CAMERA = CameraSpec()


def film(effect_type: type, grey: int = 120, frames: int = 200, seed: int = 0) -> np.ndarray:
    """What it makes of a plain grey picture, (frames, h, w, 3) float."""
    effect = effect_type(1.0, Look(), CAMERA, np.random.default_rng(seed))
    return np.array(
        [
            effect(np.full((64, 64, 3), grey, np.uint8), Motion((0.0, 0.0, 0.0), 0.0, 0.0, frame))
            for frame in range(frames)
        ],
        float,
    )


@pytest.mark.parametrize("seed", range(5))
def test_exposure_wanders_slowly_and_within_a_stop(seed):
    gains = film(Exposure, grey=100, seed=seed)[:, 0, 0, 0] / 100
    assert 0.5 <= gains.min() < gains.max() - 0.1
    assert gains.max() <= 2
    assert np.abs(np.diff(gains)).max() < 0.12


@pytest.mark.parametrize("seed", range(5))
def test_white_balance_moves_red_against_blue_and_stays_as_it_is(seed):
    frames = film(WhiteBalance, frames=3, seed=seed)
    red, _, blue = frames[0, 0, 0] / 120
    assert (red - 1) * (blue - 1) < 0
    assert (frames == frames[0]).all()


def test_flicker_is_bands_over_whole_rows_that_roll():
    frames = film(Flicker)
    assert (frames == frames[:, :, :1]).all()
    assert not np.array_equal(frames[0], frames[1])
    assert frames.mean() == pytest.approx(120, abs=1.5)
    assert frames.std() == pytest.approx(120 * 0.2 / np.sqrt(2), rel=0.1)  # a sine's


def test_noise_has_no_mean_and_is_new_in_each_frame():
    frames = film(Noise)
    assert frames.mean() == pytest.approx(120, abs=0.5)
    assert frames[0].std() == pytest.approx(np.hypot(8, 5), rel=0.1)
    assert np.corrcoef(frames[0].ravel(), frames[1].ravel())[0, 1] < 0.1
