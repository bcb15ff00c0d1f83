"""What a sweep says of its trials: which finished, what they came to, and what each setting does."""

import csv
from pathlib import Path

import msgspec
import pytest

from agent.launchers.attempt import ENDED, LOG, Ended, LaunchError
from agent.results.metrics import read_evaluations
from agent.sweep.results import _panels, failure, finished, plots, results, write_table
from agent.sweep.trials import Trial, trials
from lapwing import train_config
from tests.agent.runs import EPISODES

HEADER = "step,episodes,mean,std,length,updates,seconds\n"


def learned(out: Path, *grid: str, seeds: tuple[int, ...] = (0,)) -> list[Trial]:
    return trials(out, seeds, grid, ["--encoder", "none"], train_config)


def driven(out: Path, max_episodes: int) -> Trial:
    (trial,) = trials(out, (0,), (), ["--max-episodes", str(max_episodes)], train_config)
    return trial


def end(folder: Path, exit_code: int, seconds: float = 9.0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ENDED).write_bytes(msgspec.json.encode(Ended(exit_code, seconds)))


def evaluate(folder: Path, means: dict[int, float]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{step},10,{mean},1.0,200.0,{step},{step / 100}\n" for step, mean in means.items())
    (folder / "evaluations.csv").write_text(HEADER + rows)


def drive(folder: Path) -> None:
    """Two episodes of training, 42.5 m, and a test."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "episodes.csv").write_text(EPISODES)


@pytest.mark.parametrize(("exit_code", "done"), [(0, True), (1, False), (2, False), (130, False), (-9, False)])
def test_learning_is_finished_by_success_alone(tmp_path, exit_code, done):
    (trial,) = learned(tmp_path)
    assert not finished(trial, tmp_path)
    end(tmp_path, exit_code)
    assert finished(trial, tmp_path) is done


@pytest.mark.parametrize(
    ("exit_code", "max_episodes", "done"), [(0, 150, True), (1, 1, True), (1, 2, False), (130, 1, False)]
)
def test_driving_is_finished_too_when_it_gave_up_after_all_its_tests(tmp_path, exit_code, max_episodes, done):
    """With 1 exits also what breaks; but then not all tests have been driven."""
    trial = driven(tmp_path, max_episodes)
    end(tmp_path, exit_code)
    drive(tmp_path)
    assert finished(trial, tmp_path) is done


def test_what_broke_before_its_first_episode_is_not_finished(tmp_path):
    end(tmp_path, 1)
    assert not finished(driven(tmp_path, 1), tmp_path)


def test_a_damaged_note_of_the_end_is_named(tmp_path):
    (tmp_path / ENDED).write_text("{")
    with pytest.raises(LaunchError, match=ENDED) as caught:
        finished(driven(tmp_path, 1), tmp_path)
    assert caught.value.exit_code == 2


def test_the_last_line_says_why_a_run_failed(tmp_path):
    assert failure(tmp_path) == "said nothing"
    (tmp_path / LOG).write_text("Traceback\n  somewhere\nRuntimeError: no wheels\n\n")
    assert failure(tmp_path) == "RuntimeError: no wheels"


def test_the_table_has_settings_seed_and_results_of_every_run(tmp_path):
    planned = learned(tmp_path, "noise=ou,none", seeds=(4,))
    evaluate(tmp_path / planned[0].name, {1000: -200.0, 2000: -150.0, 3000: -170.0})
    end(tmp_path / planned[0].name, 0)
    end(tmp_path / planned[1].name, 2)
    write_table(tmp_path / "results.csv", results(tmp_path, planned))
    with (tmp_path / "results.csv").open(newline="") as file:
        good, bad = csv.DictReader(file)
    assert good == {
        "run": "noise=ou,seed=4",
        "noise": "ou",
        "seed": "4",
        "state": "finished",
        "steps": "3000",
        "final": "-170.0",
        "best": "-150.0",
        "seconds": "30.0",
    }
    assert (bad["noise"], bad["state"], bad["final"]) == ("none", "failed", "")


@pytest.mark.parametrize(("exit_code", "solved"), [(0, "yes"), (1, "no")])
def test_driving_is_told_by_what_it_took(tmp_path, exit_code, solved):
    trial = driven(tmp_path, 1)
    drive(tmp_path / trial.name)
    end(tmp_path / trial.name, exit_code, seconds=77.0)
    (row,) = results(tmp_path, [trial])
    assert (row["solved"], row["episodes"], row["metres"], row["seconds"]) == (solved, 2, 42.5, 77.0)


def test_each_setting_that_varies_has_a_picture(tmp_path):
    planned = learned(tmp_path, "noise=ou,none", "n-step=1,3", "algo=td3", seeds=(0, 1))
    assert plots(tmp_path, planned) == []
    for trial in planned:
        evaluate(tmp_path / trial.name, {1000: 1.0, 2000: 2.0})
        end(tmp_path / trial.name, 0)
    assert plots(tmp_path, planned) == [tmp_path / "noise.png", tmp_path / "n-step.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in plots(tmp_path, planned))


def test_seeds_alone_have_one_picture_of_what_finished(tmp_path):
    planned = learned(tmp_path, seeds=(0, 1))
    for trial, exit_code in zip(planned, (0, 130), strict=True):
        evaluate(tmp_path / trial.name, {1000: 1.0})
        end(tmp_path / trial.name, exit_code)
    assert plots(tmp_path, planned) == [tmp_path / "seeds.png"]


def test_a_curve_is_the_seeds_of_a_value_and_a_panel_what_else_differs(tmp_path):
    planned = learned(tmp_path, "noise=ou,none", "n-step=1,3", seeds=(0, 1))
    evaluated = {}
    for number, trial in enumerate(planned):
        evaluate(tmp_path / trial.name, {1000: float(number)})
        evaluated[trial.name] = read_evaluations(tmp_path / trial.name / "evaluations.csv")
    panels = _panels("noise", ["n-step"], planned, evaluated)
    assert {title: [curve.label for curve in curves] for title, curves in panels.items()} == {
        "Pendulum-v1, n-step=1": ["noise=ou", "noise=none"],
        "Pendulum-v1, n-step=3": ["noise=ou", "noise=none"],
    }
    # runs in order: ou 1 (0, 1), ou 3 (2, 3), none 1 (4, 5), none 3 (6, 7)
    assert [curve.mean.tolist() for curve in panels["Pendulum-v1, n-step=3"]] == [[2.5], [6.5]]
