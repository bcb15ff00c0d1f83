"""Learning curves: seeds of one experiment become one curve, with the interval that statistics tables give."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from agent.results.plot import Curve, PlotConfig, PlotError, draw, gather, plot

HEADER = "step,episodes,mean,std,length,updates,seconds\n"


def write(folder: Path, means: dict[int, float], **config: object) -> Path:
    folder.mkdir(parents=True)
    written = {"env": "Pendulum-v1", "algo": "td3", "seed": 0, "td3": {"gamma": 0.99}} | config
    (folder / "config.json").write_text(json.dumps(written))
    rows = "".join(f"{step},10,{mean},1.0,200.0,{step},1.0\n" for step, mean in means.items())
    (folder / "evaluations.csv").write_text(HEADER + rows)
    return folder


def test_seeds_of_one_experiment_are_one_curve(tmp_path):
    runs = tuple(write(tmp_path / str(seed), {10: seed, 20: 2.0 * seed}, seed=seed) for seed in (1, 2, 6))
    (curve,) = gather(runs)["Pendulum-v1"]
    assert curve.label == "TD3"
    assert curve.mean.tolist() == [3.0, 6.0]


def test_the_interval_is_students(tmp_path):
    curve = Curve("TD3", np.array([10.0]), np.array([[1.0], [2.0], [6.0]]))  # s² = 7, t(0.975, 2) = 4.303
    assert curve.half_width[0] == pytest.approx(4.303 * math.sqrt(7 / 3), rel=1e-4)
    assert Curve("TD3", np.array([10.0]), np.array([[1.0]])).half_width.tolist() == [0.0]
    hundred = Curve("TD3", np.array([10.0]), np.resize([0.0, 1.0], (100, 1)))
    assert hundred.half_width[0] == pytest.approx(1.984 * math.sqrt(25 / 99) / 10, rel=0.02)


def test_a_curve_covers_the_steps_at_which_all_seeds_were_evaluated(tmp_path):
    runs = (write(tmp_path / "a", {10: 1, 20: 2, 25: 3}), write(tmp_path / "b", {10: 1, 20: 4, 30: 5}, seed=1))
    (curve,) = gather(runs)["Pendulum-v1"]
    assert curve.steps.tolist() == [10, 20]


def test_an_environment_has_a_panel_and_an_algorithm_a_curve(tmp_path):
    runs = (
        write(tmp_path / "a", {10: 1}),
        write(tmp_path / "b", {10: 1}, algo="ddpg"),
        write(tmp_path / "c", {10: 1}, env="Hopper-v5"),
    )
    labels = {env: [curve.label for curve in curves] for env, curves in gather(runs).items()}
    assert labels == {"Hopper-v5": ["TD3"], "Pendulum-v1": ["TD3", "DDPG"]}


def test_an_ablation_is_named_by_what_differs(tmp_path):
    runs = tuple(write(tmp_path / str(gamma), {10: 1}, td3={"gamma": gamma, "tau": 0.1}) for gamma in (0.9, 0.99))
    assert [curve.label for curve in gather(runs)["Pendulum-v1"]] == ["TD3 gamma=0.9", "TD3 gamma=0.99"]


@pytest.mark.parametrize("environments", [1, 4])
def test_the_picture_is_written_whole(tmp_path, environments):
    runs = tuple(
        write(tmp_path / f"{env}-{seed}", {10: seed, 20: 3}, env=f"Env{env}-v0", seed=seed)
        for env in range(environments)
        for seed in range(2)
    )
    out = plot(PlotConfig(runs, tmp_path / "plots" / "curves.png"), Console(quiet=True))
    assert out.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in out.parent.iterdir()] == ["curves.png"]


def test_the_curves_fill_the_panel_however_wide_their_interval():
    axes = Figure().subplots()
    draw(axes, "Pendulum-v1", [Curve("TD3", np.array([10.0, 20.0]), np.array([[-1500.0, -200.0], [-1300.0, -100.0]]))])
    low, high = axes.get_ylim()
    assert -1600 < low < -1500
    assert -100 < high < 0
    left, right = axes.get_xlim()
    assert left <= 10
    assert 20 <= right < 25
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["TD3 (2 seeds)"]


def test_what_cannot_be_drawn_is_named(tmp_path):
    empty = write(tmp_path / "empty", {})
    damaged = write(tmp_path / "damaged", {10: 1})
    (damaged / "config.json").write_text("{")
    for run, said in ((tmp_path / "none", "config.json"), (empty, "no evaluation yet"), (damaged, "damaged")):
        with pytest.raises(PlotError, match=said) as caught:
            plot(PlotConfig((run,), tmp_path / "curves.png"), Console(quiet=True))
        assert caught.value.exit_code == 2
    with pytest.raises(PlotError, match="no runs"):
        plot(PlotConfig((), tmp_path / "curves.png"), Console(quiet=True))
    assert not (tmp_path / "curves.png").exists()


@pytest.mark.parametrize("text", ["{}", "[]", '{"env": 3}'])
def test_a_config_of_something_else_is_named(tmp_path, text):
    run = write(tmp_path / "a", {10: 1})
    (run / "config.json").write_text(text)
    with pytest.raises(PlotError, match="names no env"):
        gather((run,))


def test_a_run_that_is_named_twice_is_one_seed(tmp_path):
    run = write(tmp_path / "a", {10: 1})
    (curve,) = gather((run, run / ".." / "a"))["Pendulum-v1"]
    assert curve.returns.shape == (1, 1)


def test_seeds_without_a_step_in_common_make_no_curve(tmp_path):
    runs = (write(tmp_path / "a", {10: 1}), write(tmp_path / "b", {20: 1}, seed=1))
    with pytest.raises(PlotError, match="never evaluated at the same step"):
        gather(runs)


def test_a_path_with_brackets_is_no_markup(tmp_path):
    out = tmp_path / "[" / "x].png"
    plot(PlotConfig((write(tmp_path / "a", {10: 1}),), out), Console(quiet=True))
    assert out.read_bytes().startswith(b"\x89PNG")
