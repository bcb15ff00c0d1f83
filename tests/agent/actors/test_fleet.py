"""What a fleet sees of each car is what LatentState sees of it, and all frames are encoded in one batch."""

import numpy as np
import pytest
import torch

from agent.actors.fleet import Fleet, encode_by
from agent.latent import LatentState
from perception.encoders import load_encoder
from tests.agent.fakes import Film, FirstPixel
from tests.agent.runs import real_frames, write_encoder


class Counting:
    """Encodes as FirstPixel does, and remembers the sizes of its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.batches.append(len(images))
        return images[:, 0, 0].astype(np.float32) / 255


def begun(cars: int) -> tuple[Fleet, Counting]:
    encode = Counting()
    fleet = Fleet([Film() for _ in range(cars)], encode)
    for car in range(cars):
        fleet.begin(car, 0.0, seed=car)
    return fleet, encode


def test_each_car_is_seen_as_if_it_drove_alone():
    fleet, _ = begun(3)
    alone = [LatentState(Film(), FirstPixel()) for _ in range(3)]
    expected = [env.reset(seed=seed)[0] for seed, env in enumerate(alone)]
    for _ in range(4):
        seen, _ = fleet.see([0, 1, 2], [])
        assert np.array_equal(seen, np.stack(expected))
        expected = [env.step(np.zeros(2, np.float32))[0] for env in alone]
        for car in range(3):
            fleet.step(car, np.zeros(2, np.float32))


def test_all_frames_of_a_look_are_one_batch():
    fleet, encode = begun(3)
    seen, mirrored = fleet.see([2, 0], [0])
    assert encode.batches == [3]
    assert (seen.shape, mirrored.shape) == ((2, 3 + 6), (1, 3 + 6))


def test_the_mirrored_road_by_hand():
    fleet, _ = begun(1)
    executed = fleet.step(0, np.zeros(2, np.float32)).executed
    frame = fleet.envs[0].shown[-1]
    _, ((*z, speed, steering, newest_steering, newest_speed, _, _),) = fleet.see([], [0])
    assert z == pytest.approx(frame["image"][0, -1] / 255)  # the first pixel of the flipped image
    assert (speed, steering) == pytest.approx((frame["state"][0] / 5, -frame["state"][1] / 0.5))
    assert (newest_steering, newest_speed) == pytest.approx((-executed[0], executed[1]))


def test_an_episode_starts_with_no_memory_of_the_last():
    fleet, _ = begun(1)
    fleet.step(0, np.zeros(2, np.float32))
    fleet.begin(0, 0.0)
    (seen,), _ = fleet.see([0], [])
    assert seen[5:].tolist() == [0, -1, 0, -1]  # straight and standing, twice


@pytest.mark.parametrize("count", [1, 2, 7])
def test_onnx_encodes_real_frames_as_torch_does(count, tmp_path):
    weights = write_encoder(tmp_path / "vae.safetensors")
    frames = real_frames(count)
    z = encode_by(weights.with_suffix(".onnx").read_bytes())(frames)
    with torch.no_grad():
        expected = load_encoder(weights).encode_mean(torch.from_numpy(frames)).numpy()
    assert z.shape == expected.shape
    assert np.abs(z - expected).max() < 1e-4
    assert np.abs(expected).max() > 1e-2
