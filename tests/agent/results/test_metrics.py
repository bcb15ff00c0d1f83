"""What a run writes down: rows that are whole, curves that others can read, and the best policy of all."""

import csv
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from agent.results.metrics import Episode, Evaluation, Metrics, Table, read_evaluations


def evaluated(step: int, mean: float) -> Evaluation:
    return Evaluation(step, episodes=2, mean=mean, std=0.5, length=10.0, updates=step, seconds=1.0)


def drove(step: int) -> Episode:
    return Episode(step, episode=step // 10, total=-step / 4, length=10, terminated=False, updates=0)


def constant(value: float) -> nn.Linear:
    policy = nn.Linear(2, 1)
    nn.init.constant_(policy.weight, value)
    return policy


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def curve(folder: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_every_episode_and_evaluation_is_a_row(tmp_path):
    with Metrics(tmp_path) as metrics:
        metrics.episode(drove(10))
        metrics.episode(drove(20))
        metrics.evaluation(evaluated(20, 1.5), constant(0))
    assert [(row["step"], row["total"], row["terminated"]) for row in rows(tmp_path / "episodes.csv")] == [
        ("10", "-2.5", "False"),
        ("20", "-5.0", "False"),
    ]
    assert read_evaluations(tmp_path / "evaluations.csv") == [evaluated(20, 1.5)]


def test_rows_are_there_while_the_run_goes_on(tmp_path):
    with Metrics(tmp_path) as metrics:
        metrics.episode(drove(10))
        assert len(rows(tmp_path / "episodes.csv")) == 1


def test_tensorboard_reads_the_curves(tmp_path):
    with Metrics(tmp_path) as metrics:
        metrics.episode(drove(10))
        metrics.scalars("learner", {"q_mean": torch.tensor(2.5), "steps_per_s": 100.0}, 500)
        metrics.evaluation(evaluated(20, 1.5), constant(0))
    assert curve(tmp_path, "episode/return") == [(10, -2.5)]
    assert curve(tmp_path, "episode/length") == [(10, 10.0)]
    assert curve(tmp_path, "learner/q_mean") == [(500, 2.5)]
    assert curve(tmp_path, "learner/steps_per_s") == [(500, 100.0)]
    assert curve(tmp_path, "evaluation/return") == [(20, 1.5)]


def test_the_best_policy_is_kept_with_how_it_did(tmp_path):
    with Metrics(tmp_path) as metrics:
        for step, mean in ((10, -3.0), (20, 2.0), (30, 1.0)):
            metrics.evaluation(evaluated(step, mean), constant(step))
    assert load_file(tmp_path / "best.safetensors")["weight"].tolist() == [[20.0, 20.0]]
    with safe_open(tmp_path / "best.safetensors", framework="pt") as file:
        assert (file.metadata()["step"], file.metadata()["mean"]) == ("20", "2.0")


def test_a_resumed_run_forgets_what_came_after_its_snapshot(tmp_path):
    with Metrics(tmp_path) as metrics:
        for step in (10, 20, 30):
            metrics.episode(drove(step))
            metrics.evaluation(evaluated(step, float(step)), constant(step))
    with Metrics(tmp_path, step=20) as metrics:
        assert metrics.best == 20.0
        metrics.episode(drove(25))
        metrics.evaluation(evaluated(25, 24.0), constant(25))
    assert [row["step"] for row in rows(tmp_path / "episodes.csv")] == ["10", "20", "25"]
    assert [evaluation.step for evaluation in read_evaluations(tmp_path / "evaluations.csv")] == [10, 20, 25]
    assert curve(tmp_path, "evaluation/return") == [(10, 10.0), (20, 20.0), (25, 24.0)]
    assert load_file(tmp_path / "best.safetensors")["weight"].tolist() == [[25.0, 25.0]]


def test_a_row_that_a_killed_process_left_half_written_is_dropped(tmp_path):
    with Metrics(tmp_path) as metrics:
        metrics.episode(drove(10))
    with (tmp_path / "episodes.csv").open("a") as file:
        file.write("20")
    with Metrics(tmp_path, step=10) as metrics:
        metrics.episode(drove(20))
    assert [row["step"] for row in rows(tmp_path / "episodes.csv")] == ["10", "20"]


def test_a_row_with_nothing_to_say_in_a_column_is_kept(tmp_path):
    for row in ((1, ""), (2, "")):
        table = Table(tmp_path / "table.csv", ["step", "what"], "step", until=row[0] - 1)
        table.write(row)
        table.close()
    assert rows(tmp_path / "table.csv") == [{"step": "1", "what": ""}, {"step": "2", "what": ""}]


def test_an_evaluation_that_was_left_half_written_is_dropped(tmp_path):
    with Metrics(tmp_path) as metrics:
        metrics.evaluation(evaluated(10, 1.0), constant(1.0))
    with (tmp_path / "evaluations.csv").open("a") as file:
        file.write("20,2,")
    with Metrics(tmp_path, step=20) as metrics:
        assert metrics.evaluations == [evaluated(10, 1.0)]


def test_a_new_run_starts_with_empty_tables(tmp_path):
    for _ in range(2):
        with Metrics(tmp_path) as metrics:
            metrics.episode(drove(10))
    assert len(rows(tmp_path / "episodes.csv")) == 1


@pytest.mark.parametrize(
    "text", ["step,mean\n10,1\n", "step,episodes,mean,std,length,updates,seconds\n1,x,1,1,1,1,1\n"]
)
def test_a_table_of_something_else_is_an_error_that_names_it(tmp_path, text):
    path = tmp_path / "evaluations.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"evaluations\.csv"):
        read_evaluations(path)


def test_an_evaluation_that_was_no_number_is_not_the_best(tmp_path):
    with Metrics(tmp_path) as metrics:
        metrics.evaluation(evaluated(10, float("nan")), constant(1.0))
        metrics.evaluation(evaluated(20, -5.0), constant(2.0))
        assert metrics.best == -5.0
    assert torch.all(load_file(tmp_path / "best.safetensors")["weight"] == 2.0)


def test_the_policy_of_the_last_evaluation_is_kept_too(tmp_path):
    with Metrics(tmp_path) as metrics:
        metrics.evaluation(evaluated(10, 7.0), constant(1.0))
        metrics.evaluation(evaluated(20, -5.0), constant(2.0))
    assert torch.all(load_file(tmp_path / "best.safetensors")["weight"] == 1.0)
    assert torch.all(load_file(tmp_path / "last.safetensors")["weight"] == 2.0)
