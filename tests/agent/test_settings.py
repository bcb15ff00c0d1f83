"""A setting out of its bounds is told by name, with what it is and what was expected."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from agent.algorithms.d4pg import D4PGConfig
from agent.algorithms.ddpg import DDPGConfig
from agent.algorithms.td3 import TD3Config
from agent.noise.gaussian import GaussianConfig
from agent.settings import SettingsError, checked
from agent.sync.config import SyncConfig
from agent.training.config import TrainConfig
from agent.training.ratio import Ratio

NAN = float("nan")


@pytest.mark.parametrize("config", [SyncConfig(), SyncConfig(out=Path("runs/x"), layers={"state": 1}), TrainConfig()])
def test_what_is_within_its_bounds_comes_back_as_it_is(config):
    assert checked(config) is config


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (SyncConfig(steps=0), "steps is 0; expected int >= 1"),
        (SyncConfig(seed=-1), "seed is -1; expected int >= 0"),
        (SyncConfig(actors=0), "actors is 0; expected int >= 1"),
        (SyncConfig(n_step=0), "n_step is 0; expected int >= 1"),
        (SyncConfig(update_ratio=-0.5), "update_ratio is -0.5; expected float >= 0.0"),
        (SyncConfig(layers={"state": -1}), "layers[...] is {'state': -1}; expected int >= 0"),
        (SyncConfig(gaussian=GaussianConfig(std=-1.0)), "gaussian.std is -1.0; expected float >= 0.0"),
        (SyncConfig(td3=TD3Config(gamma=1.01)), "td3.gamma is 1.01; expected float <= 1.0"),
        (SyncConfig(td3=TD3Config(tau=NAN)), "td3.tau is nan; expected float >= 0.0"),
        (SyncConfig(ddpg=DDPGConfig(hidden=(64, 0))), "ddpg.hidden[1] is 0; expected int >= 1"),
        (SyncConfig(d4pg=D4PGConfig(atoms=1)), "d4pg.atoms is 1; expected int >= 2"),
        (TrainConfig(passes=0), "passes is 0; expected int >= 1"),
        (TrainConfig(ratio=Ratio(per_step=-1.0)), "ratio.per_step is -1.0; expected float >= 0.0"),
    ],
)
def test_what_is_not_is_told(config, complaint):
    with pytest.raises(SettingsError, match=f"^{re.escape(complaint)}$") as caught:
        checked(config)
    assert caught.value.exit_code == 2


def test_a_bound_holds_also_where_nothing_is_allowed():
    assert checked(replace(SyncConfig(), ddpg=DDPGConfig(max_grad_norm=None)))
    with pytest.raises(SettingsError, match="max_grad_norm is 0"):
        checked(replace(SyncConfig(), ddpg=DDPGConfig(max_grad_norm=0.0)))
