"""The ablations: one thing at a time, honest intervals, runs that go on, a page written between its marks."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from agent.algorithms.td3 import TD3Config
from agent.networks import Actor
from agent.noise import OrnsteinUhlenbeck
from agent.noise.parameter import ParameterNoise
from agent.results.metrics import read_evaluations
from agent.sync.train import SyncConfig, train_sync
from benchmarks import ablations
from benchmarks.ablations import AXES, TASKS, VARIANTS, chosen, command, settings
from benchmarks.runs import finish

QUIET = Console(quiet=True)
BEGIN, END = "<!-- written by python -m benchmarks.ablations -->\n", "<!-- until here -->\n"
TINY = SyncConfig(
    steps=60,
    start_steps=30,
    episode_steps=20,
    evaluate_every=30,
    evaluation_episodes=1,
    td3=TD3Config(batch_size=4, hidden=(8,)),
)
CHANGES = {  # by hand: all that may differ from what a variant is compared with
    "noise-none": {"noise"},
    "noise-ou": {"noise", "ou.sigma"},
    "noise-parameter": {"noise", "parameter.distance", "parameter.sigma"},
    "start-100": {"start_steps"},
    "start-3000": {"start_steps"},
    "interval-2": {"update_ratio"},
    "interval-4": {"update_ratio"},
    "delay-1": {"td3.delay"},
    "delay-4": {"td3.delay"},
    "norm-actor": {"td3.actor_norm"},
    "norm-critic": {"td3.critic_norm"},
    "norm-both": {"td3.actor_norm", "td3.critic_norm"},
    "smoothing-0": {"td3.smoothing"},
    "smoothing-0.5": {"td3.smoothing", "td3.smoothing_clip"},
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(ablations, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(ablations, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(ablations, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(os, "nice", lambda increment: increment)  # not for the tests that follow


@pytest.fixture
def tiny(monkeypatch):
    """One task of a second instead of the real ones."""
    monkeypatch.setattr(ablations, "TASKS", {"tiny": TINY})


def flat(config: SyncConfig) -> dict[str, object]:
    top = asdict(config)
    nested = {f"{name}.{key}": x for name, value in top.items() if isinstance(value, dict) for key, x in value.items()}
    return {name: value for name, value in top.items() if not isinstance(value, dict)} | nested


def kept(folder: Path, returns: Sequence[float]) -> None:
    """A finished run with these evaluations."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"env": "Pendulum-v1", "algo": "td3", "seed": folder.name}))
    rows = [f"{100 * (i + 1)},10,{value},0,200,0,1" for i, value in enumerate(returns)]
    (folder / "evaluations.csv").write_text("\n".join(["step,episodes,mean,std,length,updates,seconds", *rows, ""]))


# -- what is compared


@pytest.mark.parametrize("task", TASKS)
def test_a_variant_differs_from_what_it_is_compared_with_in_one_thing(task):
    assert set(CHANGES) | {"base"} == set(VARIANTS)
    for name, expected in CHANGES.items():
        ours, theirs = flat(settings(task, name)), flat(settings(task, VARIANTS[name].against))
        assert {key for key in ours if ours[key] != theirs[key]} == expected, name


@pytest.mark.parametrize("task", TASKS)
def test_the_base_is_td3_as_published_but_for_its_size_and_step(task):
    base = settings(task, "base")
    assert (base.algo, base.noise, base.gaussian.std, base.start_steps, base.update_ratio) == (
        *("td3", "gaussian", 0.1),
        *(1000, 1.0),
    )
    sized = {"batch_size": base.td3.batch_size, "hidden": (64, 64)}
    assert base.td3 == TD3Config(**sized, actor_lr=base.td3.actor_lr, critic_lr=base.td3.critic_lr)
    assert base.steps > 3000, "the longest random start"
    assert base.steps % base.evaluate_every == 0


def test_every_axis_shows_the_base_and_only_variants_that_there_are():
    for axis in AXES.values():
        assert next(iter(axis.variants)) == "base"
        assert set(axis.variants) <= set(VARIANTS)
    assert set(chosen(tuple(AXES))) == set(VARIANTS)


def test_a_variant_is_run_once_and_never_without_what_it_is_compared_with():
    assert chosen(("delay", "smoothing")) == ["base", "delay-1", "delay-4", "smoothing-0", "smoothing-0.5"]
    assert {"base", "norm-actor", "noise-parameter"} <= set(chosen(("noise",)))


def test_all_noises_are_equally_strong():
    noise = OrnsteinUhlenbeck(settings("lane", "noise-ou").ou, 1000, np.random.default_rng(0))
    settled = [noise() for _ in range(50)][-1]  # 0.85⁵⁰ of its start are left
    assert settled.std() == pytest.approx(0.1, rel=0.1)
    config = settings("lane", "noise-parameter").parameter
    assert config.distance == settings("lane", "base").gaussian.std == 0.1


@pytest.mark.parametrize(("obs", "actions"), [(3, 1), (9, 2)])
def test_noise_on_the_weights_starts_near_its_strength(obs, actions):
    config = settings("lane", "noise-parameter").parameter
    squares = []
    for seed in range(8):
        torch.manual_seed(seed)
        actor, noise = (
            Actor(obs, actions, (64, 64), "layer"),
            ParameterNoise(config, actions, np.random.default_rng(seed)),
        )
        states = torch.randn(20, obs)
        noise.begin(actor, 0)
        driven = torch.from_numpy(np.array([noise.act(actor, state) for state in states.numpy()]))
        squares.append((driven - actor(states)).square().mean().item())
    assert 0.08 < np.mean(squares) ** 0.5 < 0.16


# -- what the figures are


def test_differences_are_taken_seed_by_seed(tmp_path, tiny):
    for seed, (theirs, ours) in {0: (1, 12), 1: (1000, 1010), 2: (-500, -491), 10: (7, 0)}.items():
        kept(tmp_path / f"results/tiny-base-{seed}", [theirs])
        if seed < 10:  # not finished yet
            kept(tmp_path / f"results/tiny-delay-1-{seed}", [ours])
    row = ablations.summarise("tiny", "delay-1")["final"]
    assert row["difference"] == pytest.approx(10)  # of 11, 10 and 9
    assert row["half_width"] == pytest.approx(4.303 / 3**0.5, rel=1e-3)  # Student's t with 2 degrees of freedom


def test_parameter_noise_is_compared_with_an_actor_that_also_has_layernorm(tmp_path, tiny):
    for variant, value in {"base": 0, "norm-actor": 100, "noise-parameter": 130}.items():
        kept(tmp_path / f"results/tiny-{variant}-0", [value])
    row = ablations.summarise("tiny", "noise-parameter")
    assert (row["against"], row["final"]["difference"]) == ("norm-actor", 30.0)
    assert ablations.cells(row, "**{}**") == ["1", "130.0", "+30.0", "130.0", "+30.0"]  # one seed: no interval
    assert ablations.cells(ablations.summarise("tiny", "norm-both"), "**{}**") == ["0", "", "", "", ""]


def test_a_run_counts_by_its_last_evaluation_and_by_the_mean_of_all(tmp_path, tiny):
    for seed, returns in enumerate([[-300, -100], [-500, -200]]):
        kept(tmp_path / f"results/tiny-base-{seed}", returns)
        kept(tmp_path / f"results/tiny-delay-1-{seed}", [mean + 1000 for mean in returns])
    row = ablations.summarise("tiny", "delay-1")
    assert row["seeds"] == 2
    assert (row["final"]["mean"], row["curve"]["mean"]) == (850.0, 725.0)
    assert row["final"]["std"] == pytest.approx(50 * 2**0.5)
    said = ["2", "850.0 ± 70.7", "**+1000.0 ± 0.0**", "725.0 ± 106.1", "**+1000.0 ± 0.0**"]
    assert ablations.cells(row, "**{}**") == said
    base = ablations.summarise("tiny", "base")
    assert ablations.cells(base, "**{}**") == ["2", "-150.0 ± 70.7", "base", "-275.0 ± 106.1", "base"]


# -- runs and page


def test_one_call_runs_what_is_missing_and_writes_the_page_between_its_marks(tmp_path, tiny, capsys):
    page, runs = tmp_path / "docs/ablations.md", tmp_path / "runs"
    page.parent.mkdir()
    page.write_text(f"# By hand\n{BEGIN}old\n{END}Also by hand.\n")
    asked = ["--tasks", "tiny", "--axes", "delay", "--seeds", "2", "--json"]
    assert command(asked) == 0
    names = [f"tiny-{variant}-{seed}" for variant in ("base", "delay-1", "delay-4") for seed in (0, 1)]
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == names
    assert [e.step for e in read_evaluations(tmp_path / "results/tiny-delay-4-1/evaluations.csv")] == [30, 60]
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {name: row["seeds"] for name, row in found.items()} == {"tiny/base": 2, "tiny/delay-1": 2, "tiny/delay-4": 2}
    written = page.read_text()
    assert written.startswith(f"# By hand\n{BEGIN}")
    assert written.endswith(f"{END}Also by hand.\n")
    assert f"6 runs. {3 * len(VARIANTS) - 6} more are missing" in written
    assert f"{found['tiny/delay-1']['final']['mean']:.1f} ± " in written
    assert "old" not in written
    assert (tmp_path / "docs/ablations.png").read_bytes().startswith(b"\x89PNG")
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    assert command(asked) == 0
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before
    assert page.read_text() == written


def test_a_run_that_was_broken_off_goes_on_to_the_same_end(tmp_path):
    config = replace(TINY, checkpoint_every=20, out=tmp_path / "broken")
    train_sync(replace(config, steps=40), QUIET)
    finish(config, tmp_path / "kept/broken", QUIET)
    finish(replace(config, out=tmp_path / "whole"), tmp_path / "kept/whole", QUIET)
    ends = [read_evaluations(tmp_path / f"kept/{name}/evaluations.csv")[-1] for name in ("broken", "whole")]
    assert replace(ends[0], seconds=0.0) == replace(ends[1], seconds=0.0)
    assert json.loads((tmp_path / "kept/broken/config.json").read_bytes())["resume"]


@pytest.mark.parametrize("arguments", [["--tasks", "moon"], ["--axes", "noise", "moon", "--list"]])
def test_an_unknown_name_is_one_line_and_exit_code_2(arguments, capsys):
    assert command(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    expected = "tasks out of Pendulum-v1, lane, axes out of noise, start, interval, delay, norm, smoothing"
    assert said.err.splitlines() == [f"unknown: moon; expected {expected}"]


def test_ctrl_c_is_exit_code_130(tmp_path, tiny, monkeypatch):
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ablations, "finish", press)
    assert command(["--tasks", "tiny"]) == 130
    assert not (tmp_path / "docs").exists()


def test_a_page_without_its_marks_is_left_alone(tmp_path, tiny, capsys):
    page = tmp_path / "docs/ablations.md"
    page.parent.mkdir()
    page.write_text("By hand.\n")
    assert command(["--tasks", "tiny", "--show"]) == 2
    assert f"{page}: expected the line" in capsys.readouterr().err
    assert page.read_text() == "By hand.\n"
    assert not page.with_name("ablations.png").exists()


@pytest.mark.parametrize(
    ("otherwise", "passes"),
    [
        ({"start_steps": 7}, False),
        ({"td3": {"delay": 1}}, False),  # as delay-1, but in the base's folder
        ({"td3": {"delay": 2, "since_gone": 5}, "d4pg": {"v_max": 9.0}, "n_step": 1, "seed": 3}, True),
    ],
)
def test_finished_runs_count_only_if_they_were_made_as_the_code_says_now(tmp_path, tiny, capsys, otherwise, passes):
    kept(tmp_path / "results/tiny-base-0", [1.0])
    config = tmp_path / "results/tiny-base-0/config.json"
    config.write_text(json.dumps(json.loads(config.read_bytes()) | otherwise))
    assert command(["--tasks", "tiny", "--show"]) == (0 if passes else 2)
    assert ("tiny-base-0: was made with other settings" in capsys.readouterr().err) is not passes


def test_everything_is_listed(capsys):
    assert command(["--list"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in (*TASKS, *AXES))
