"""The trials of a sweep: every combination and seed once, named by what differs, and the same again next time."""

import json
from pathlib import Path

import pytest

from agent.settings import SettingsError
from agent.sweep.trials import PLAN, SweepError, Trial, axis, claim, trials
from agent.sync.config import SyncConfig
from agent.training.config import TrainConfig
from lapwing import UsageError, train_config

NONE = ("--encoder", "none")


def planned(out: Path, *grid: str, seeds: tuple[int, ...] = (0,), options: tuple[str, ...] = NONE) -> list[Trial]:
    return trials(out, seeds, grid, list(options), train_config)


def names(found: list[Trial]) -> list[str]:
    return [trial.name for trial in found]


# -- grid


def test_every_combination_has_a_run_with_every_seed():
    found = planned(Path("x"), "noise=ou,none", "td3.actor-lr=1e-4,1e-3,1e-2", seeds=(3, 7))
    got = [(trial.config.noise, trial.config.td3.actor_lr, trial.config.seed) for trial in found]
    assert got == [(noise, lr, seed) for noise in ("ou", "none") for lr in (1e-4, 1e-3, 1e-2) for seed in (3, 7)]


def test_without_a_grid_the_seeds_are_the_runs():
    assert names(planned(Path("x"), seeds=(0, 1, 2))) == ["seed=0", "seed=1", "seed=2"]


def test_a_run_is_named_by_the_grid_and_its_seed_however_that_is_written():
    (one,) = planned(Path("x"), "td3.actor_lr=1e-4", "noise=ou")
    (other,) = planned(Path("x"), "noise=ou", "td3.actor-lr=0.00010")
    assert one.name == other.name == "noise=ou,td3.actor-lr=0.0001,seed=0"
    assert list(one.settings) == ["td3.actor-lr", "noise"]  # in the table as the user has them


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("td3.hidden=64 32", "td3.hidden=64-32,seed=0"),
        ("layers=state 1", "layers=state-1,seed=0"),
        ("n-step=None", "n-step=None,seed=0"),
        ("prioritised=True", "prioritised=True,seed=0"),
        ("env=shimmy:dm_control/cartpole-swingup-v0", "env=shimmy-dm_control-cartpole-swingup-v0,seed=0"),
        ("td3.actor-lr=1e-7", "td3.actor-lr=1e-07,seed=0"),
    ],
)
def test_a_name_is_one_folder_without_spaces(text, name):
    assert names(planned(Path("x"), text)) == [name]


def test_a_setting_of_several_numbers_has_spaces_between_them():
    found = planned(Path("x"), "td3.hidden=64 32,400 300")
    assert [trial.config.td3.hidden for trial in found] == [(64, 32), (400, 300)]


def test_each_run_has_a_folder_of_its_own_under_an_absolute_path():
    found = planned(Path("x"), "noise=ou,none")
    assert [trial.config.out for trial in found] == [Path.cwd() / "x" / name for name in names(found)]


def test_driving_is_swept_as_well():
    found = planned(Path("x"), "ddpg.gamma=0.9,0.95", options=("--max-episodes", "3"))
    assert all(isinstance(trial.config, TrainConfig) and trial.config.max_episodes == 3 for trial in found)
    (trial,) = planned(Path("x"))
    assert isinstance(trial.config, SyncConfig)


def test_the_grid_outdoes_the_options():
    (trial,) = planned(Path("x"), "algo=ddpg", options=(*NONE, "--algo", "td3"))
    assert trial.config.algo == "ddpg"


# -- mistakes


@pytest.mark.parametrize("text", ["noise", "noise=", "=ou", "noise=ou,", "noise=ou,,none"])
def test_a_grid_that_is_none_is_shown_one(text):
    with pytest.raises(SweepError, match="expected SETTING=VALUE,VALUE") as caught:
        axis(text)
    assert text in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["seed=1,2", "out=x", "resume=True", "encoder=none,runs/vae.safetensors"])
def test_what_the_sweep_sets_itself_is_not_for_a_grid(text):
    with pytest.raises(SweepError, match=f"{text.partition('=')[0]} is not for a grid"):
        axis(text)


@pytest.mark.parametrize("option", ["--seed", "--seed=3", "--out", "--resume", "--no-resume"])
def test_what_the_sweep_sets_itself_is_not_among_the_options(option):
    with pytest.raises(SweepError, match=f"{option} after --"):
        planned(Path("x"), options=(*NONE, option))


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("td3.wings=1", UsageError, "--td3.wings"),
        ("noise=ou,loud", UsageError, "loud"),
        ("steps=10,0", SettingsError, "steps is 0; expected int >= 1"),
    ],
)
def test_a_wrong_setting_or_value_is_named(text, error, said):
    with pytest.raises(error, match=said):
        planned(Path("x"), text)


def test_the_same_twice_is_refused():
    with pytest.raises(SweepError, match="sets noise twice"):
        planned(Path("x"), "noise=ou", "noise=none")
    with pytest.raises(SweepError, match=r"two runs are td3.actor-lr=0.001,seed=0"):
        planned(Path("x"), "td3.actor-lr=1e-3,0.001")
    with pytest.raises(SweepError, match="two runs are seed=5"):
        planned(Path("x"), seeds=(5, 5))
    with pytest.raises(SweepError, match="--seeds has none"):
        planned(Path("x"), seeds=())


# -- folder


def test_the_same_sweep_again_or_with_more_runs_is_the_same_sweep(tmp_path):
    claim(tmp_path, planned(tmp_path, "noise=ou"))
    claim(tmp_path, planned(tmp_path, "noise=ou"))
    more = planned(tmp_path, "noise=none,ou", seeds=(1, 0))
    claim(tmp_path, more)
    assert json.loads((tmp_path / PLAN).read_bytes()).keys() == set(names(more))


def test_a_sweep_that_leaves_out_a_run_is_refused_and_the_run_named(tmp_path):
    claim(tmp_path, planned(tmp_path, "noise=ou,none"))
    before = (tmp_path / PLAN).read_bytes()
    for grid in (("noise=ou,gaussian",), (), ("noise=ou,none", "n-step=1,2")):
        with pytest.raises(SweepError, match=r"noise=\w+,seed=0 is not among these runs"):
            claim(tmp_path, planned(tmp_path, *grid))
    assert (tmp_path / PLAN).read_bytes() == before


def test_a_sweep_with_other_options_is_refused_and_the_setting_named(tmp_path):
    claim(tmp_path, planned(tmp_path, "noise=ou"))
    with pytest.raises(SweepError, match=r"td3.gamma of noise=ou,seed=0 was 0.99, now it is 0.5"):
        claim(tmp_path, planned(tmp_path, "noise=ou", options=(*NONE, "--td3.gamma", "0.5")))


def test_a_sweep_that_was_moved_is_the_same(tmp_path):
    claim(tmp_path / "here", planned(tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "there")
    claim(tmp_path / "there", planned(tmp_path / "there"))


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(SweepError, match="holds something else"):
        claim(tmp_path, planned(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    (tmp_path / PLAN).write_text("{")
    with pytest.raises(SweepError, match=PLAN):
        claim(tmp_path, planned(tmp_path))
