"""Every algorithm can be chosen for the lane, with settings that are those of driving."""

from typing import get_args, get_type_hints

import pytest

from agent.algorithms import ALGORITHMS, CONFIGS
from agent.algorithms.d4pg import D4PGConfig
from agent.settings import SettingsError
from agent.training.config import TrainConfig, resolved
from agent.training.ratio import Ratio


def test_the_choices_are_the_registered_algorithms():
    assert get_args(get_type_hints(TrainConfig)["algo"]) == tuple(ALGORITHMS)


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_settings_are_those_of_the_algorithm_that_was_chosen(algo):
    settings = TrainConfig(algo=algo).settings
    module, _, name = CONFIGS[algo].partition(":")
    assert (type(settings).__module__, type(settings).__name__) == (module, name)
    assert settings is not getattr(TrainConfig(algo=algo), next(other for other in ALGORITHMS if other != algo))


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_they_look_as_far_ahead_and_are_as_large_as_each_other(algo):
    settings = TrainConfig(algo=algo).settings
    assert (settings.gamma, settings.batch_size, settings.hidden) == (0.95, 128, (128, 128))
    assert (settings.actor_norm, settings.activation, settings.preactivation_cost) == ("layer", "relu", 3e-2)


def test_the_atoms_hold_every_return_of_the_lane():
    config = TrainConfig(algo="d4pg")
    forever_m = sum(0.278 * 0.95**k for k in range(1000))
    assert forever_m == pytest.approx(5.56, abs=0.01)
    assert config.d4pg.v_min < 0 < forever_m < config.d4pg.v_max
    assert resolved(config, 0.278).d4pg == config.d4pg


@pytest.mark.parametrize(("sync", "per_step"), [(False, 1.0), (True, 0.0)])
def test_only_by_turns_there_are_no_more_updates_than_the_paper_has(sync, per_step):
    assert resolved(TrainConfig(sync=sync), 0.278).ratio == Ratio(250.0, per_step)
    assert resolved(TrainConfig(sync=sync, ratio=Ratio(1.0, 0.5)), 0.278).ratio == Ratio(1.0, 0.5)


def test_atoms_are_widened_for_a_faster_car_and_a_longer_view():
    d4pg = D4PGConfig(gamma=0.75, v_min=-1.0, v_max=6.0)
    wide = resolved(TrainConfig(algo="d4pg", d4pg=d4pg), 2.0).d4pg
    assert (wide.v_min, wide.v_max) == (-1.0, 8.0)  # 2 + 2·¾ + 2·(¾)² + …
    assert resolved(TrainConfig(algo="td3", d4pg=d4pg), 2.0).d4pg == d4pg  # which has no use for them


def test_returns_without_end_are_an_error():
    with pytest.raises(SettingsError, match=r"d4pg\.gamma is 1; expected less than 1") as caught:
        resolved(TrainConfig(algo="d4pg", d4pg=D4PGConfig(gamma=1.0)), 0.278)
    assert caught.value.exit_code == 2
