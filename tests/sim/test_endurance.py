"""An environment that has lived long is as good as new: it keeps no memory and drives as a fresh one."""

import gc
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sim.lane_following import LaneFollowing

TRAFFIC = {"box": 8, "cone": 8, "parked car": 4, "lead vehicle": 2}
WILD = {"scenario": "wild", "roads": "held_in", "obstacles": TRAFFIC}
BUSY = {**WILD, "random_start": True, "length_m": 120.0, "image_size": (24, 32)}
SEEDS = range(500_000, 500_008)


def resident_mb() -> float:
    """Memory of this process that is in use now, in megabytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def grown_mb(resets: int, warm_up: int, **options: object) -> float:
    """How much memory so many resets keep, after some that fill what is kept once."""
    env = LaneFollowing(**options)
    for seed in range(warm_up):
        env.reset(seed=seed)
    before_mb = resident_mb()
    for seed in range(warm_up, warm_up + resets):
        env.reset(seed=seed)
        env.step(np.array([0.0, 1.0], np.float32))
    grown = resident_mb() - before_mb
    env.close()
    return grown


def test_150_resets_keep_no_pictures():
    """A strip is 5.8 MB: kept ones would be 870 MB, one in fifty 17."""
    assert grown_mb(150, 50, **WILD) < 10


@pytest.mark.slow
def test_2000_resets_keep_less_than_20_mb():
    assert grown_mb(2000, 200, **WILD) < 20


@pytest.mark.slow
def test_100_resets_of_the_reference_renderer_keep_less_than_20_mb():
    assert grown_mb(100, 30, renderer="bullet", **WILD) < 20


@pytest.mark.slow
def test_making_and_closing_30_environments_keeps_less_than_20_mb():
    def make_and_close() -> None:
        env = LaneFollowing(**WILD)
        env.reset(seed=0)
        env.close()

    for _ in range(10):
        make_and_close()
    before_mb = resident_mb()
    for _ in range(30):
        make_and_close()
    assert resident_mb() - before_mb < 20


def live(env: LaneFollowing, seed: int, steps: int = 60) -> str:
    """Drive an episode; a digest of every frame, state, reward and info."""
    digest = hashlib.sha256()
    obs, info = env.reset(seed=seed)
    rng, over = np.random.default_rng(seed), False
    for _ in range(steps):
        digest.update(obs["image"].tobytes() + obs["state"].tobytes() + repr(list(info.items())).encode())
        if over:
            break
        action = rng.uniform([-0.15, 0.3], [0.15, 1.0]).astype(np.float32)
        obs, reward, terminated, truncated, info = env.step(action)
        digest.update(repr((reward, terminated, truncated)).encode())
        over = terminated or truncated
    return digest.hexdigest()


def live_afresh(vehicle: str = "city_car", **options: object) -> list[str]:
    """The digests of SEEDS, each in an environment of its own."""
    digests = []
    for seed in SEEDS:
        env = LaneFollowing(vehicle=vehicle, **BUSY | options)
        digests.append(live(env, seed))
        env.close()
    return digests


def live_after(episodes: int, **options: object) -> list[str]:
    """The digests of SEEDS in one environment that has lived through so many episodes before."""
    env = LaneFollowing(**BUSY | options)
    for seed in range(episodes):
        live(env, seed, steps=20)
    digests = [live(env, seed) for seed in SEEDS]
    env.close()
    return digests


@pytest.mark.parametrize("vehicle", ["city_car", "racecar", "donkey"])
def test_after_30_episodes_a_drive_is_that_of_a_fresh_environment(vehicle):
    fresh = live_afresh(vehicle)
    assert len(set(fresh)) == len(SEEDS)
    assert live_after(30, vehicle=vehicle) == fresh


def test_and_on_the_reference_renderer():
    options = {"renderer": "bullet", "length_m": 40.0}
    assert live_after(3, **options) == live_afresh(**options)


@pytest.mark.slow
@pytest.mark.parametrize("vehicle", ["city_car", "racecar", "donkey"])
def test_after_1000_episodes_a_drive_is_that_of_a_fresh_environment(vehicle):
    assert live_after(1000, vehicle=vehicle) == live_afresh(vehicle)


def test_another_process_with_another_hash_seed_drives_the_same():
    program = "from tests.sim.test_endurance import live_after; print(*live_after(2))"
    here = live_after(2)
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        assert done.stdout.split()[-len(SEEDS) :] == here
