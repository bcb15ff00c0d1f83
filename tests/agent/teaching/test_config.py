"""A policy is taught for the car that it drives."""

from dataclasses import replace

import pytest

from agent.algorithms.d4pg import D4PGConfig
from agent.settings import SettingsError
from agent.teaching.config import TeachConfig, fitted
from perception.encoders.vae import VAEConfig
from tests.deploy.cars import SPEC

EYE = VAEConfig(latent=5, height_px=8, width_px=8, channels=(4,))


def test_the_policy_is_for_that_car_and_encoder():
    config = TeachConfig(period_s=0.05)
    same, facts = fitted(config, SPEC, EYE)
    assert same == config
    assert (facts.obs_size, facts.action_size) == (5 + 6, 2)  # latent; speed, steering and two actions
    assert (facts.top_speed_mps, facts.max_steering_rad, facts.max_steering_rate_radps) == (2.0, 0.5, 1.0)
    assert (facts.image_height, facts.image_width, facts.period_s) == (8, 8, 0.05)


def test_an_encoder_of_other_images_is_refused():
    with pytest.raises(SettingsError, match=r"sees images of \(16, 8\) .*; the car's are \(8, 8\)"):
        fitted(TeachConfig(), SPEC, replace(EYE, height_px=16))


def test_atoms_hold_what_the_car_can_return():
    config = TeachConfig(algo="d4pg", d4pg=D4PGConfig(gamma=0.9, v_min=-1.0, v_max=1.0, atoms=11))
    assert fitted(config, SPEC, EYE)[0].d4pg.v_max == pytest.approx(2.0 * 0.1 / (1 - 0.9))
