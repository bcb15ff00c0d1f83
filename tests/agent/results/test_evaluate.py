"""Table I: the car is put back where it left the lane, the ways out are counted, and the drive ends."""

from typing import Any

import gymnasium
import msgspec
import numpy as np
import pytest
from gymnasium.spaces import Box
from rich.console import Console

from agent.checkpoint import CheckpointError
from agent.results.evaluate import (
    EvaluateConfig,
    Row,
    Training,
    cell,
    drive_route,
    evaluate,
    figures,
    read_training,
    table1,
)
from tests.agent.fakes import FACTS
from tests.agent.runs import EPISODES, write_run


class Track(gymnasium.Env):
    """A straight of 10 m; action 0 is metres per step. It is left once at each of the given places."""

    metadata = {"render_fps": 10}  # noqa: RUF012 (Gymnasium's form)
    observation_space = action_space = Box(-np.inf, np.inf, (1,))

    def __init__(self, left_at_m: tuple[float, ...] = (), time_limit: int = 1000):
        self.left_at_m, self.time_limit = list(left_at_m), time_limit
        self.placed: list[float] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.distance_m, self.steps = (options or {}).get("distance_m", 0.0), 0
        self.placed.append(self.distance_m)
        return self._observe(), self._info(action=0.0)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.distance_m, self.steps = self.distance_m + float(action[0]), self.steps + 1
        terminated = bool(self.left_at_m) and self.distance_m >= self.left_at_m[0]
        if terminated:
            self.left_at_m.pop(0)
        truncated = not terminated and (self.distance_m >= 10 or self.steps >= self.time_limit)
        return self._observe(), float(action[0]), terminated, truncated, self._info(float(action[0]))

    def _observe(self) -> np.ndarray:
        return np.array([self.distance_m])

    def _info(self, action: float) -> dict[str, Any]:
        return {"distance_m": self.distance_m, "finished": self.distance_m >= 10, "executed": np.array([action, 0])}


def one_metre(obs: np.ndarray) -> np.ndarray:
    return np.ones(1)


def test_a_clean_drive_has_no_figure_per_disengagement():
    row = drive_route(Track(), "steady", one_metre)
    assert (row.policy, row.distance_m, row.disengagements) == ("steady", 10.0, 0)
    assert row.mean_speed_mps == 10.0  # 10 steps at 10 Hz
    assert row.meters_per_disengagement is None


def test_after_a_disengagement_the_car_is_put_back_where_it_left():
    track = Track(left_at_m=(3.0, 3.0, 7.5))
    row = drive_route(track, "weaving", one_metre)
    assert track.placed == [0.0, 3.0, 4.0, 8.0]
    assert row.disengagements == 3
    assert row.meters_per_disengagement == pytest.approx(10 / 3)


def test_a_car_that_stands_is_taken_off_the_road_after_three_time_limits():
    track = Track(time_limit=50)
    row = drive_route(track, "standing", np.zeros_like)
    assert (row.distance_m, row.disengagements, row.mean_speed_mps) == (0.0, 0, 0.0)
    assert track.steps <= 150


def test_how_much_the_steering_moves_is_counted_per_control_period():
    steering = iter([0.0, 2.0, 4.0, 4.0])  # from 0, where it stands at the start
    row = drive_route(Track(), "jerky", lambda obs: np.full(1, next(steering)))
    assert row.steering_change == 1.0  # (0 + 2 + 2 + 0) / 4


def test_the_policy_sees_the_place_it_was_put_back_to():
    seen = []

    def note(obs: np.ndarray) -> np.ndarray:
        seen.append(float(obs[0]))
        return np.full(1, 2.5)

    drive_route(Track(left_at_m=(5.0,)), "noting", note)
    assert seen == [0.0, 2.5, 5.0, 7.5]


def test_training_is_counted_from_the_training_episodes(tmp_path):
    path = tmp_path / "episodes.csv"
    path.write_text(EPISODES)
    assert read_training(path, period_s=0.1) == Training(episodes=2, distance_m=42.5, driving_min=1.5)  # 900 · 0.1 s


@pytest.mark.parametrize(
    "content", [None, "kind,steps\ntrain,3\n", EPISODES.replace("300", "many"), EPISODES[:130].replace("kind", "sort")]
)
def test_a_bad_list_of_episodes_is_an_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "episodes.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CheckpointError, match=r"episodes\.csv") as caught:
        read_training(path, period_s=0.1)
    assert caught.value.exit_code == 2


def test_the_table_shows_this_run_and_the_papers():
    with (console := Console(width=140)).capture() as capture:
        console.print(table1([Row("DDPG, VAE", 250.0, 0, 2.5, Training(11, 200.0, 1.5))]))
    text = capture.get()
    for figure in ("7.35", "22.7", "298.8", "195.5", "143.2", "200.0"):
        assert figure.rstrip("5") in text  # one digit behind the point
    assert text.count("DDPG, VAE") == 2


def test_figures_and_cells():
    assert figures(Row("Zero policy", 44.0, 2, 1.0)) == ("Zero policy", None, None, None, 22.0, 2, None)
    assert [cell(value) for value in (None, 22.0, 11, "x", 0.0123)] == ["–", "22.0", "11", "x", "0.012"]


def test_all_three_policies_drive_the_real_route(tmp_path):
    config = EvaluateConfig(run=write_run(tmp_path / "train"), out=tmp_path / "made" / "table1.json")
    with (console := Console()).capture() as capture:
        rows = evaluate(config, console)
    assert [row.policy for row in rows] == ["Random policy", "Zero policy", "DDPG, VAE"]
    assert msgspec.json.decode(config.out.read_bytes(), type=list[Row]) == rows
    assert [path.name for path in config.out.parent.iterdir()] == ["table1.json"]
    assert rows[2].training.episodes == 2
    assert rows[1].distance_m > 11  # straight on at half speed, it reaches the end of 12 m
    assert rows[1].disengagements == 0
    assert 1.0 < rows[1].mean_speed_mps < 10 / 3.6 / 2  # it had to start from standing
    assert "Table I" in capture.get()


def test_the_learned_policy_also_drives_roads_that_no_training_saw(tmp_path):
    run = write_run(tmp_path / "train")
    *_, learned, held_out = evaluate(EvaluateConfig(run=run, out=tmp_path / "t.json", held_out=3), Console(quiet=True))
    assert held_out.policy == "the same, 3 new roads"
    assert held_out.distance_m > 3 * 11  # the routes of FACTS have 12 m
    assert learned.distance_m < 2 * 12


def test_the_policy_is_named_after_what_trained_it(tmp_path):
    run = write_run(tmp_path / "train", msgspec.structs.replace(FACTS, algo="td3", length_m=1.0))
    rows = evaluate(EvaluateConfig(run=run, out=tmp_path / "table1.json"), Console(quiet=True))
    assert rows[-1].policy == "TD3, VAE"


def test_the_same_seed_makes_the_same_table(tmp_path):
    run = write_run(tmp_path / "train")
    one, same = (evaluate(EvaluateConfig(run, tmp_path / "t.json", seed=4), Console(quiet=True)) for _ in range(2))
    assert one == same
