"""A drive that goes on becomes episodes, whatever it ends with, and no step of it is lost."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy.driving.safety import Command
from perception.dataset import Dataset
from perception.recorder import LONGEST, Recorder, progress_m, recording_of
from perception.shards import DatasetError
from tests.deploy.cars import MIDDLE, SPEC, RealCar, SimulatedCar, frame

PERIOD_S = 0.1
STANDS = np.array([0.0, 0.0, 0.0, -1.0], np.float32)
AHEAD = np.array([0.5, 0.0], np.float32)


def frame_of(brightness: int) -> np.ndarray:
    return np.full((8, 8, 3), brightness, np.uint8)


def record_steps(recorder: Recorder, count: int) -> None:
    recorder.start(frame_of(0), STANDS)
    for i in range(count):
        recorder.step(AHEAD, float(i), frame_of(i + 1), STANDS)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "drive", "test", (8, 8), {})


def test_a_drive_is_written_when_it_is_closed(recorder: Recorder, tmp_path: Path) -> None:
    with recorder:
        record_steps(recorder, 3)
    (episode,) = Dataset(tmp_path / "drive", strict=True).episodes()
    assert episode.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert episode.actions.tolist() == [[0.5, 0.0]] * 3
    assert episode.rewards.tolist() == [0, 1, 2]
    assert np.isnan(episode.labels).all()
    assert not episode.terminated


def test_a_long_drive_is_several_episodes_that_share_their_ends_so_that_no_step_is_lost(
    recorder: Recorder, tmp_path: Path
) -> None:
    with recorder:
        record_steps(recorder, 150)
        before = Dataset(tmp_path / "drive").lengths.tolist()  # while it goes on
    first, second = Dataset(tmp_path / "drive", strict=True).episodes()
    assert before == [LONGEST]
    assert np.array_equal(first.images[-1], second.images[0])
    assert np.concatenate([first.rewards, second.rewards]).tolist() == list(range(150))


def test_a_disengagement_ends_the_episode(recorder: Recorder, tmp_path: Path) -> None:
    with recorder:
        recorder.start(frame_of(0), STANDS, seed=7)
        recorder.step(AHEAD, 1.0, frame_of(1), STANDS, {"lateral_offset_m": 2.0}, terminated=True)
        record_steps(recorder, 1)
    first, second = Dataset(tmp_path / "drive", strict=True).episodes()
    assert (first.terminated, second.terminated) == (True, False)
    assert (first.seed, second.seed) == (7, -1)
    assert first.label("lateral_offset_m")[1] == 2.0


def test_a_single_frame_is_no_drive(recorder: Recorder, tmp_path: Path) -> None:
    with recorder:
        recorder.start(frame_of(0), STANDS)
    assert list((tmp_path / "drive").iterdir()) == []


def test_a_drive_is_added_to_those_before(tmp_path: Path) -> None:
    for _ in range(2):
        with Recorder(tmp_path, "test", (8, 8), {}) as recorder:
            record_steps(recorder, 2)
    assert Dataset(tmp_path, strict=True).column("episode").tolist() == [0, 0, 0, 1, 1, 1]


def test_a_camera_that_changes_its_size_is_an_error(recorder: Recorder) -> None:
    with pytest.raises(DatasetError, match=r"\(8, 9, 3\).*\(8, 8, 3\)"), recorder:
        recorder.start(np.zeros((8, 9, 3), np.uint8), STANDS)


# -- a vehicle that is watched


def drive(car: RealCar, folder: Path, commands: list[Command], pauses_s: list[float]) -> list[np.ndarray]:
    """Drive like the control loop does; returns the frames that the car gave."""
    images = []
    with recording_of(folder, "real")(SPEC, PERIOD_S) as watcher:
        for command, pause_s in zip(commands, pauses_s, strict=True):
            frame = car.read()
            images.append(frame.image)
            watcher(frame, car.send(command))
            car.sleep(pause_s)
    return images


def test_a_real_drive_has_what_was_executed_and_measured_and_no_labels(tmp_path: Path) -> None:
    commands = [Command(steering, speed, 0.0) for steering, speed in ((0.4, -0.5), (-0.2, 0.0), (0.0, 1.0))]
    images = drive(RealCar(), tmp_path, commands, [PERIOD_S] * 3)
    dataset = Dataset(tmp_path, strict=True)
    (episode,) = dataset.episodes()
    assert np.array_equal(episode.images, images)
    assert episode.actions == pytest.approx(np.array([[0.2, -0.5], [-0.1, 0.0]]))  # its motors do half the steering
    assert episode.states[:, 2:] == pytest.approx(np.array([[0.0, -1.0], [0.2, -0.5], [-0.1, 0.0]]))
    assert episode.states[:, 0].tolist() == [0.0, 0.5, 1.0]  # m/s: the set-point + 1
    assert episode.rewards == pytest.approx([0.025, 0.075])  # the mean of two speeds, for 0.1 s
    assert np.isnan(episode.labels).all()
    assert dataset.header.source == "drive"
    assert dataset.header.settings["vehicle"] == "real"
    assert (dataset.header.settings["top_speed_mps"], dataset.header.settings["fps"]) == (2.0, 10.0)


def test_no_action_leads_over_a_missed_period(tmp_path: Path) -> None:
    go = Command(0.0, 0.0, 0.0)
    drive(RealCar(), tmp_path, [go] * 5, [PERIOD_S, 2 * PERIOD_S, PERIOD_S, PERIOD_S, PERIOD_S])
    assert Dataset(tmp_path, strict=True).lengths.tolist() == [2, 3]


def test_a_simulated_drive_knows_the_way_along_the_lane_and_where_it_left_it(tmp_path: Path) -> None:
    car = SimulatedCar(length_m=100.0)
    car.leaves_m, car.truth = 3.0, replace(MIDDLE, lateral_offset_m=0.25)
    drive(car, tmp_path, [Command(0.0, 0.5, 0.0)] * 3, [PERIOD_S] * 3)
    (episode,) = Dataset(tmp_path, strict=True).episodes()
    assert episode.rewards == pytest.approx([1.5, 1.5])
    assert episode.label("lateral_offset_m").tolist() == [0.25] * 3
    assert episode.terminated


def test_progress_is_along_the_lane_or_what_the_speed_adds_up_to():
    assert progress_m(frame(1.0, distance_m=3.0), frame(1.1, distance_m=3.25, speed_mps=99.0)) == pytest.approx(0.25)
    before, after = frame(1.0, None, speed_mps=1.0), frame(1.2, None, speed_mps=2.0)
    assert progress_m(before, after) == pytest.approx(1.5 * 0.2)
