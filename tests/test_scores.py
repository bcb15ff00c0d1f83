"""The table of scores: what counts as reached, and that a broken-off call goes on."""

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from agent.results.metrics import read_evaluations
from agent.snapshot import snapshots
from agent.sync.config import SyncConfig
from benchmarks import runs, scores
from benchmarks.runs import PageError, called, write_page
from benchmarks.scores import Config, Group, show, summarise
from benchmarks.tasks import TASKS, Published, Task, settings

QUIET = Console(quiet=True)
TINY = Task("Pendulum-v1", 60, {"ddpg": Published(-1e9, None, "anyone")}, {"episode_steps": 20, "evaluate_every": 30})


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(scores, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(scores, "RUNS", tmp_path / "runs")
    monkeypatch.setitem(TASKS, "tiny", TINY)


@pytest.mark.parametrize(
    ("means", "verdict"), [([-100.0, -200.0], "reached"), ([-245.0], "reached"), ([-247.0], "below")]
)
def test_a_score_short_of_the_published_one_by_more_than_its_spread_is_below(means, verdict):
    ours = np.array([(mean, 80.0) for mean in means]).reshape(-1, 2)
    assert summarise(ours, Published(-152, 94, "rl-zoo"))["verdict"] == verdict


def test_a_score_published_without_a_spread_is_no_interval_to_be_below():
    assert Published(-123, None, "anyone").verdict(-130) == "less; no interval given"
    assert Published(-123, None, "anyone").verdict(-120) == "reached"


def test_seeds_and_episodes_have_a_spread_each():
    row = summarise(np.array([(-100.0, 30.0), (-200.0, 40.0)]), None)
    assert (row["mean"], row["seeds"]) == (-150.0, 2)
    assert row["seed_std"] == pytest.approx(50 * 2**0.5)
    assert row["episode_std"] == pytest.approx((0.5 * (30**2 + 40**2)) ** 0.5)


def test_every_task_has_settings_that_the_trainer_knows():
    for name, task in TASKS.items():
        for algo in ("ddpg", "td3", "d4pg"):
            config = settings(task, algo)
            assert (config.steps, config.algo) == (task.steps, algo), name
            assert config.start_steps < config.steps or name == "tiny"
            assert config.d4pg.v_min < config.d4pg.v_max


def test_pendulum_is_learned_with_the_defaults_of_the_command_line():
    config = settings(TASKS["Pendulum-v1"], "td3")
    assert replace(config, evaluate_every=5000, evaluation_episodes=10) == SyncConfig(env="Pendulum-v1", steps=20_000)


GROUP = Group("tiny", "ddpg", "float32")


def test_a_run_is_made_once_and_leaves_its_evaluations(tmp_path):
    scores.run(GROUP, 0, QUIET)
    kept = tmp_path / "results" / "tiny-ddpg-float32-0"
    assert sorted(path.name for path in kept.iterdir()) == ["config.json", "evaluations.csv"]
    assert [evaluation.step for evaluation in read_evaluations(kept / "evaluations.csv")] == [30, 60]
    written = (tmp_path / "runs" / kept.name / "config.json").stat().st_mtime_ns
    scores.run(GROUP, 0, QUIET)
    assert (tmp_path / "runs" / kept.name / "config.json").stat().st_mtime_ns == written
    rows = show(Config(tasks=("tiny",), algos=("ddpg", "td3")), QUIET)
    assert list(rows) == ["tiny-ddpg-float32"]
    assert (rows["tiny-ddpg-float32"]["seeds"], rows["tiny-ddpg-float32"]["verdict"]) == (1, "reached")


def test_a_run_that_was_broken_off_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "tiny", replace(TINY, settings=TINY.settings | {"checkpoint_every": 20}))
    train_sync, asked = runs.train_sync, []

    def train(config: SyncConfig, console: Console) -> None:
        asked.append(config.resume)
        train_sync(config if config.resume else replace(config, steps=40), console)
        if not config.resume:
            raise KeyboardInterrupt

    monkeypatch.setattr(runs, "train_sync", train)
    with pytest.raises(KeyboardInterrupt):
        scores.run(GROUP, 0, QUIET)
    assert not (tmp_path / "results").exists()
    scores.run(GROUP, 0, QUIET)
    assert asked == [False, True]
    assert snapshots(tmp_path / "runs/tiny-ddpg-float32-0/checkpoints")[0].name == "step-000000060"
    assert read_evaluations(tmp_path / "results/tiny-ddpg-float32-0/evaluations.csv")[-1].step == 60


def test_the_docs_have_a_row_and_a_curve_for_what_has_been_finished(tmp_path, monkeypatch):
    monkeypatch.setattr(scores, "DOCS", tmp_path)
    (tmp_path / "scores.md").write_text(
        "Before.\n<!-- written by python -m benchmarks.scores -->\nold\n<!-- until here -->\nAfter.\n"
    )
    scores.run(GROUP, 0, QUIET)
    scores.write_docs(QUIET)
    page = (tmp_path / "scores.md").read_text()
    assert page.startswith("Before.\n")
    assert page.endswith("After.\n")
    assert "old" not in page
    assert "| tiny | 60 | DDPG | 1 | " in page
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_two_benchmarks_may_write_into_one_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- written by python -m {name} -->\nold\n<!-- until here -->\n" for name in ("a", "b")))
    for name in ("a", "b"):
        write_page(page, name, f"new {name}")
    assert [line for line in page.read_text().splitlines() if line and "<!--" not in line] == ["new a", "new b"]


def test_a_page_without_a_place_is_left_alone(tmp_path):
    page = tmp_path / "scores.md"
    page.write_text("By hand.\n")
    with pytest.raises(PageError, match="once, and"):
        write_page(page, "benchmarks.scores", "text")
    assert page.read_text() == "By hand.\n"


def test_an_unknown_task_is_said_in_one_line(capsys):
    assert called(scores.main, Config, ["--tasks", "Nope"]) == 2
    assert capsys.readouterr().err.startswith("unknown: Nope; expected tasks out of --list")


def test_a_call_killed_while_it_kept_a_run_leaves_nothing_that_counts(monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.runs.shutil.copyfile", killed)
    group = Group("tiny", "ddpg", "float32")
    with pytest.raises(KeyboardInterrupt):
        scores.run(group, 0, QUIET)
    assert group.runs == []
    monkeypatch.undo()
