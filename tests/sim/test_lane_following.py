"""The environment keeps Gymnasium's contract, is reproducible and can be driven to the end."""

import hashlib
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.sim.scenes import pure_pursuit

ID = "sim:LaneFollowing-v0"
STAND = np.array([0.0, -1.0], np.float32)
AHEAD = np.array([0.0, 1.0], np.float32)


def fingerprint(seed: int) -> str:
    """A digest of every frame, state, reward and info of a random episode on a random road."""
    env = gymnasium.make(ID, scenario="wild", roads="held_in", random_start=True, length_m=60.0)
    env.action_space.seed(seed)
    digest = hashlib.sha256()
    obs, info = env.reset(seed=seed)
    over = False
    for _ in range(40):
        digest.update(obs["image"].tobytes() + obs["state"].tobytes() + repr(sorted(info.items(), key=str)).encode())
        if over:
            break
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
        digest.update(repr(reward).encode())
        over = terminated or truncated
    env.close()
    return digest.hexdigest()


@pytest.mark.parametrize("unwrapped", [False, True])
@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")
def test_gymnasiums_checker_is_content(made, unwrapped):
    env = made(render_mode="rgb_array", length_m=60.0)
    check_env(env.unwrapped if unwrapped else env, skip_render_check=True)  # its windows need a screen


def test_spaces_and_info_are_as_announced(made):
    env = made(length_m=60.0)
    obs, info = env.reset(seed=0)
    assert obs["image"].shape == (64, 64, 3)
    assert obs["image"].dtype == np.uint8
    assert obs["state"].tolist() == [0.0, 0.0, 0.0, -1.0]
    assert env.action_space == gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    names = "distance_m lateral_offset_m heading_error_rad curvature_1pm curvature_ahead_1pm x_m y_m yaw_rad"
    assert set(info) == {*names.split(), "disengagement", "finished"}
    assert (info["distance_m"], info["disengagement"], info["finished"]) == (0.0, None, False)


def test_the_state_holds_speed_steering_and_the_executed_action(made):
    env = made(length_m=60.0)
    env.reset()
    for _ in range(3):
        obs, *_ = env.step(np.array([1.0, 0.5], np.float32))
    speed_mps, steering_rad, steering, speed = obs["state"]
    assert speed_mps == pytest.approx(3 * 0.1 * 1.5, rel=0.05)  # three steps at 1.5 m/s²
    assert 0.08 < steering_rad <= 0.24  # 0.8 rad/s, and the wheels are up to two steps behind
    assert (steering, speed) == pytest.approx((0.24 / np.radians(30), 0.5), abs=1e-3)


def test_the_same_seed_is_the_same_episode_bit_for_bit_in_any_process():
    here = [fingerprint(3), fingerprint(3)]
    program = "from tests.sim.test_lane_following import fingerprint; print(fingerprint(3))"
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert here[0] == here[1] == there.stdout.split()[-1]
    assert fingerprint(4) != here[0]


def test_rewards_add_up_to_the_distance_driven(made):
    env = made(length_m=60.0)
    _, info = env.reset(options={"distance_m": 20.0})
    start_m, total_m, over = info["distance_m"], 0.0, False
    assert start_m == pytest.approx(20.0, abs=1e-6)
    while not over:
        _, reward, terminated, over, info = env.step(pure_pursuit(env.unwrapped.world))
        total_m += reward
        assert not terminated
    assert total_m == pytest.approx(info["distance_m"] - start_m, abs=1e-9)
    assert total_m == pytest.approx(40.0, abs=0.3)


@pytest.mark.parametrize("road_seed", range(5))
def test_a_driver_who_knows_the_lane_finishes_the_route(made, road_seed):
    env = made(road_seed=road_seed)
    env.reset()
    steps, over = 0, False
    while not over:
        _, _, terminated, truncated, info = env.step(pure_pursuit(env.unwrapped.world))
        over, steps = terminated or truncated, steps + 1
    assert (terminated, truncated, info["finished"], info["disengagement"]) == (False, True, True, None)
    assert info["distance_m"] >= 250.0
    assert steps == pytest.approx(10 * (250 / 2.7778 + 2.7778 / 2 / 1.5), rel=0.03)  # top speed after v / 2a


def test_leaving_the_lane_terminates(made):
    env = made()
    env.reset()
    over = False
    while not over:
        _, _, terminated, truncated, info = env.step(AHEAD)
        over = terminated or truncated
    assert (terminated, truncated, info["disengagement"], info["finished"]) == (True, False, "off lane", False)
    assert abs(info["lateral_offset_m"]) > 0.4


def test_who_stands_still_for_five_seconds_is_stuck(made):
    env = made(length_m=60.0)
    env.reset()
    steps = [env.step(STAND) for _ in range(50)]
    assert [(terminated, truncated) for _, _, terminated, truncated, _ in steps] == [(False, False)] * 49 + [
        (True, False)
    ]
    assert [info["disengagement"] for *_, info in steps] == [None] * 49 + ["stuck"]


def test_who_creeps_is_not_stuck_but_out_of_time_after_twice_that_of_the_route(made):
    env = made(length_m=20.0)
    env.reset()
    endings = []
    while not endings or endings[-1] == (False, False):
        _, _, *ending, info = env.step(np.array([0.0, -0.9], np.float32))  # 0.14 m/s
        endings.append(tuple(ending))
    assert (len(endings), endings[-1], info["disengagement"]) == (144, (False, True), None)  # 2 * 20 m / 2.7778 m/s


def test_no_random_start_is_lost_before_it_has_begun(made):
    env = made(random_start=True)
    places = []
    for seed in range(50):
        _, info = env.reset(seed=seed)
        assert info["disengagement"] is None
        for _ in range(3):
            _, reward, terminated, truncated, info = env.step(STAND)
            assert not terminated
            assert not truncated
            assert abs(reward) < 1e-3
        places.append((info["distance_m"], info["lateral_offset_m"], info["heading_error_rad"]))
    low, high = np.min(places, axis=0), np.max(places, axis=0)
    assert low[0] < 25
    assert high[0] > 190
    assert low[1:] == pytest.approx([-0.6, -0.2], abs=0.06)
    assert high[1:] == pytest.approx([0.6, 0.2], abs=0.06)


def test_a_given_distance_beats_a_random_one(made):
    env = made(random_start=True)
    assert env.reset(seed=1, options={"distance_m": 50.0})[1]["distance_m"] == pytest.approx(50.0, abs=0.05)


def test_random_roads_are_new_every_episode_and_the_same_for_the_same_seed(made):
    env = made(roads="held_in", length_m=60.0)
    seeds = []
    for seed in (5, None, None, 5, None, None):
        env.reset(seed=seed)
        seeds.append(env.unwrapped.road.seed)
    assert len(set(seeds[:3])) == 3
    assert seeds[3:] == seeds[:3]


def test_a_fixed_road_stays(made):
    env = made(road_seed=9, length_m=60.0)
    roads = []
    for seed in range(3):
        env.reset(seed=seed)
        roads.append(env.unwrapped.road)
    assert roads[0].seed == 9
    assert roads[0] is roads[1] is roads[2]


def test_it_is_rendered_only_when_asked(made):
    for mode, shape in ((None, None), ("rgb_array", (384, 704, 3))):
        env = made(length_m=60.0, render_mode=mode).unwrapped
        env.reset()
        picture = env.render()
        assert (picture if picture is None else picture.shape) == shape


def test_an_unknown_name_is_refused_in_one_line():
    for option, name in (("vehicle", "lorry"), ("renderer", "raytraced"), ("scenario", "moon"), ("roads", "all")):
        with pytest.raises(ValueError, match=f"^{option} is '{name}'; expected one of "):
            gymnasium.make(ID, **{option: name})


def test_closing_twice_is_harmless(made):
    env = made(length_m=60.0)
    env.close()
    env.unwrapped.close()


def test_making_one_prints_nothing_but_pybullets_own_line():
    program = f"import gymnasium; env = gymnasium.make('{ID}', length_m=20.0); env.reset(); env.close()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert [line for line in lines if line and not line.startswith("pybullet build time")] == []
