"""Every preset can be driven by every vehicle, nothing outlives a reset, and each cause ends an episode by its name."""

import math

import numpy as np
import pybullet
import pytest

from sim.dynamics import DynamicsRange
from sim.effects import CAMERA_EFFECTS
from sim.lane_following import LaneFollowing
from sim.obstacles import Obstacle
from sim.scenario import SCENARIOS
from sim.scene import HELD_IN, HELD_OUT, Scene
from sim.spec import CONTROL_PERIOD_S
from sim.vehicles import VEHICLES
from tests.sim.scenes import exact, pure_pursuit, wander

STAND = np.array([0.0, -1.0], np.float32)
AHEAD = np.array([0.0, 1.0], np.float32)
TRAFFIC = {"box": 4, "cone": 4, "parked car": 3, "lead vehicle": 2}
SMALL = {"image_size": (16, 16)}
LATE = DynamicsRange(
    mass=0.2, steering_lag_s=0.1, steering_offset_rad=0.02, actuation_delay=3, frame_delay=3, frame_drop=0.5
)


def drive_until_over(env: LaneFollowing, action: np.ndarray, limit: int = 400) -> tuple[int, bool, bool, dict]:
    """Repeat an action; returns (steps, terminated, truncated, info)."""
    for step in range(1, limit + 1):
        _, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            return step, terminated, truncated, info
    raise AssertionError(f"nothing ended the episode in {limit} steps")


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_preset_is_driven_by_every_vehicle(make, scenario, vehicle):
    env = make(scenario=scenario, vehicle=vehicle, roads="held_in", random_start=True, obstacles=TRAFFIC)
    for seed in range(3):
        obs, info = env.reset(seed=seed)
        assert env.observation_space.contains(obs)
        assert info["disengagement"] is None
        assert not info["finished"]
        reach_m = env.vehicle.top_speed_mps * CONTROL_PERIOD_S / env.vehicle.scale
        for obs, reward, terminated, truncated, info in wander(env, 60, seed):
            assert env.observation_space.contains(obs)
            assert abs(reward) <= 1.5 * reach_m
            assert terminated == (info["disengagement"] is not None)
            assert truncated <= info["finished"]  # 60 steps are less than the time limit
            assert all(np.isfinite(found).all() for name, found in info.items() if name != "disengagement")


def lost_at_once(env: LaneFollowing, seeds: range) -> list[tuple[int, str]]:
    """The seeds of random starts that end within three steps though the car stands still, and why."""
    lost = []
    for seed in seeds:
        env.reset(seed=seed)
        steps = [env.step(STAND) for _ in range(3)]
        lost += [(seed, info["disengagement"]) for _, _, terminated, _, info in steps if terminated][:1]
    return lost


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_random_start_is_lost_before_it_has_begun(make, scenario, vehicle):
    env = make(scenario=scenario, vehicle=vehicle, roads="held_in", random_start=True, obstacles=TRAFFIC, **SMALL)
    assert lost_at_once(env, range(12)) == []


@pytest.mark.parametrize(
    ("vehicle", "width_m", "seeds"), [("city_car", 2.5, 300), ("racecar", 2.5, 60), ("donkey", 2.5, 60)]
)
def test_nor_on_the_narrowest_lane_of_wild(make, vehicle, width_m, seeds):
    lane = {"lane_width_m": (width_m, width_m), "length_m": 60.0}
    env = make(scenario="wild", effects={}, vehicle=vehicle, random_start=True, **lane, **SMALL)
    assert lost_at_once(env, range(seeds)) == []


def test_random_starts_keep_clear_of_what_stands_on_the_road(make):
    env = make(roads="held_in", random_start=True, obstacles={"box": 20, "parked car": 20}, **SMALL)
    for seed in range(40):
        _, info = env.reset(seed=seed)
        standing = [o.distance_m for o in env.world.scene.obstacles]
        assert len(standing) > 10
        assert min(abs(at_m - info["distance_m"]) for at_m in standing) >= 6.0 - 0.1


STALE = {
    "fixed road": {},
    "new roads": {"scenario": "wild", "roads": "held_in"},
    "one road in all weathers": {"scenario": "wild"},
    "every camera effect": {"effects": dict.fromkeys(CAMERA_EFFECTS, 1.0)},
    "late commands and frames": {"scenario": "wild", "dynamics": LATE, "effect_share": 1.0},
    "traffic": {"obstacles": TRAFFIC | {"lead vehicle": 4}, "dynamics": LATE},
    "a circuit": {"scenario": "circuit", "dynamics": LATE},
    "grey": {"scenario": "wild", "grayscale": True},
}


@pytest.mark.parametrize("options", STALE.values(), ids=STALE)
@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("again", [3, 8], ids=["the same episode", "another episode"])
def test_nothing_is_stale_after_a_reset_in_the_middle_of_a_drive(make, options, random_start, again):
    used, fresh = (make(**options, random_start=random_start, image_size=(32, 32)) for _ in range(2))
    used.reset(seed=again)
    wander(used, 25, seed=1)
    assert exact(*used.reset(seed=3)) == exact(*fresh.reset(seed=3))
    for (obs, *ending, info), (other, *other_ending, other_info) in zip(
        wander(used, 30), wander(fresh, 30), strict=True
    ):
        assert (exact(obs, info), ending) == (exact(other, other_info), other_ending)


def test_the_first_frame_is_of_the_new_episode_however_late_frames_are(make):
    """The state stands, and the late camera shows the start at once rather than the last drive."""
    late = {"dynamics": DynamicsRange(frame_delay=3, frame_drop=0.9, actuation_delay=3)}
    env, prompt = make(**late, **SMALL), make(**SMALL)
    for seed in range(4):
        obs, _ = env.reset(seed=seed)
        first, _ = prompt.reset(seed=seed)
        assert obs["state"].tolist() == [0.0, 0.0, 0.0, -1.0]
        assert np.array_equal(obs["image"], first["image"])
        wander(env, 15)


def test_a_late_car_executes_late_what_it_was_told(make):
    """Three periods late; the state tells what was executed, not what was asked for."""
    env = make(dynamics=DynamicsRange(actuation_delay=3), **SMALL)
    delays = set()
    for seed in range(12):
        env.reset(seed=seed)
        executed = [env.step(AHEAD)[0]["state"][3] for _ in range(5)]
        late = env.world.scene.dynamics.actuation_delay
        delays.add(late)
        assert executed == [-1.0] * late + [1.0] * (5 - late)
    assert delays == {0, 1, 2, 3}


def test_an_observation_is_the_callers_own(make):
    env = make(scenario="wild", roads="held_in", dynamics=LATE, effect_share=1.0, **SMALL)
    obs, _ = env.reset(seed=0)
    kept = [(obs, obs["image"].copy(), obs["state"].copy())]
    for obs, *_ in wander(env, 10):
        kept.append((obs, obs["image"].copy(), obs["state"].copy()))
    for obs, image, state in kept:
        assert np.array_equal(obs["image"], image)
        assert np.array_equal(obs["state"], state)


def with_box(env: LaneFollowing, distance_m: float) -> None:
    """Put a box on the middle of the lane of the episode that has just begun."""
    world, unit = env.world, env.vehicle.scale
    box = Obstacle("box", 0.8 * unit, 0.8 * unit, 0.8 * unit, (178, 134, 86), distance_m * unit, 0.0, 0.0)
    world.load(Scene(world.road, world.scene.look, world.vehicle, obstacles=(box,)))


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_driving_into_a_box_is_a_collision(make, vehicle):
    env = make(vehicle=vehicle, **SMALL)
    env.reset(seed=0)
    with_box(env, 10.0)  # the first six metres of every route are straight
    over = False
    while not over:
        _, reward, terminated, truncated, info = env.step(pure_pursuit(env.world, 0.5))
        assert math.isfinite(reward)
        over = terminated or truncated
    assert (terminated, truncated, info["disengagement"], info["finished"]) == (True, False, "collision", False)
    touch_m = 10.0 - 0.4 - env.vehicle.length_m / 2 / env.vehicle.scale  # bumper to box
    assert info["distance_m"] / env.vehicle.scale == pytest.approx(touch_m, abs=0.4)


def test_passing_a_box_beside_the_lane_is_none(make):
    env = make(**SMALL)
    env.reset(seed=0)
    world = env.world
    box = Obstacle("box", 0.8, 0.8, 0.8, (178, 134, 86), 10.0, 1.9, 0.0)
    world.load(Scene(world.road, world.scene.look, world.vehicle, obstacles=(box,)))
    while world.track.distance_m < 15.0:
        *_, terminated, truncated, info = env.step(pure_pursuit(world, 0.5))
        assert (terminated, truncated, info["disengagement"]) == (False, False, None)


def test_a_collision_is_forgotten_by_the_next_episode(make):
    env = make(**SMALL)
    env.reset(seed=0)
    with_box(env, 8.0)
    assert drive_until_over(env, AHEAD)[3]["disengagement"] == "collision"
    _, info = env.reset(seed=1)
    assert info["disengagement"] is None
    assert [env.step(STAND)[2] for _ in range(3)] == [False] * 3


def test_catching_up_with_a_vehicle_ahead_is_a_collision(make):
    env = make(obstacles={"lead vehicle": 1}, lead_speed=0.1, **SMALL)
    env.reset(seed=0)
    over = False
    while not over:
        *_, terminated, truncated, info = env.step(pure_pursuit(env.world))
        over = terminated or truncated
    assert (terminated, info["disengagement"]) == (True, "collision")


@pytest.mark.parametrize("error_rad", [math.pi, -math.pi, 1.6, -1.6])
def test_facing_backwards_is_the_wrong_way(make, error_rad):
    env = make(**SMALL)
    env.reset(seed=0, options={"heading_error_rad": error_rad})
    steps, terminated, truncated, info = drive_until_over(env, STAND)
    assert (steps, terminated, truncated, info["disengagement"]) == (1, True, False, "wrong way")
    assert abs(info["heading_error_rad"]) == pytest.approx(abs(error_rad), abs=0.01)


def test_faster_than_a_tenth_over_top_speed_is_overspeed(make):
    for factor, cause in ((1.05, None), (1.3, "overspeed")):
        env = make(**SMALL)
        env.reset(seed=0)
        yaw = env.world.pose[2]
        speed_mps = factor * env.vehicle.top_speed_mps
        push = [speed_mps * math.cos(yaw), speed_mps * math.sin(yaw), 0.0]  # as down a hill
        pybullet.resetBaseVelocity(env.world.car.body, push, [0, 0, 0], env.world.client)
        _, _, terminated, _, info = env.step(STAND)
        assert (terminated, info["disengagement"]) == (cause is not None, cause)


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_who_stands_is_stuck_after_five_seconds(make, vehicle):
    env = make(vehicle=vehicle, **SMALL)
    env.reset(seed=0)
    steps, terminated, truncated, info = drive_until_over(env, STAND)
    assert (steps, terminated, truncated, info["disengagement"]) == (50, True, False, "stuck")


def test_being_stuck_is_forgotten_by_the_next_episode(make):
    env = make(**SMALL)
    for seed in (0, 0, 1):
        env.reset(seed=seed)
        assert not any(env.step(STAND)[2] for _ in range(49))


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("side", [1, -1])
def test_steering_off_the_lane_is_off_lane(make, vehicle, side):
    env = make(vehicle=vehicle, **SMALL)
    env.reset(seed=0)
    _, terminated, truncated, info = drive_until_over(env, np.array([side, 0.5], np.float32))
    assert (terminated, truncated, info["disengagement"]) == (True, False, "off lane")
    assert info["lateral_offset_m"] * side > 0


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_a_lap_counts_on_across_the_seam_until_it_is_driven(make, vehicle):
    """From the middle of a lap: distances go on, the reward has no jump, and at the lap's end it is finished."""
    env = make(scenario="circuit", vehicle=vehicle, effects={}, dynamics=DynamicsRange(), **SMALL)
    _, info = env.reset(seed=0)
    lap_m, unit = env.road.length_m, env.vehicle.scale
    _, info = env.reset(seed=0, options={"distance_m": lap_m - 8 * unit})
    before_m, total_m, over = info["distance_m"], 0.0, False
    start_m = before_m
    while not over:
        _, reward, terminated, over, info = env.step(pure_pursuit(env.world))
        total_m += reward
        assert not terminated
        assert info["distance_m"] >= before_m
        before_m = info["distance_m"]
    assert info["finished"]
    step_m = env.vehicle.top_speed_mps * CONTROL_PERIOD_S
    assert lap_m <= info["distance_m"] <= lap_m + 1.01 * step_m
    assert total_m == pytest.approx((info["distance_m"] - start_m) / unit)
    for _ in range(20):  # whoever drives on, drives on
        _, reward, *_, info = env.step(pure_pursuit(env.world))
        assert 0 < reward < 1.1 * step_m / unit
    assert info["distance_m"] > lap_m + 10 * step_m


def test_who_rolls_back_over_the_start_of_a_circuit_has_gone_backwards(make):
    env = make(scenario="circuit", effects={}, dynamics=DynamicsRange(), **SMALL)
    env.reset(seed=0, options={"distance_m": 0.2})
    yaw = env.world.pose[2]
    back = [-2 * math.cos(yaw), -2 * math.sin(yaw), 0.0]
    pybullet.resetBaseVelocity(env.world.car.body, back, [0, 0, 0], env.world.client)
    total_m = sum(env.step(STAND)[1] for _ in range(4))
    assert total_m < -0.25
    assert env.world.track.distance_m == pytest.approx(0.2 + total_m, abs=1e-6)


@pytest.mark.parametrize(("roads", "seeds"), [("held_in", HELD_IN), ("held_out", HELD_OUT)])
def test_roads_are_drawn_from_their_seeds(make, roads, seeds):
    env = make(roads=roads, length_m=20.0, **SMALL)
    drawn = []
    for seed in range(24):
        env.reset(seed=seed)
        drawn.append(env.road.seed)
    assert all(seed in seeds for seed in drawn)
    assert len(set(drawn)) == 24
    assert np.ptp(drawn) > len(seeds) / 2


def test_the_first_road_is_the_fixed_one_until_an_episode_draws_another(make):
    env = make(roads="held_in", road_seed=5, length_m=20.0, **SMALL)
    assert env.road.seed == 5
    env.reset(seed=0)
    assert env.world.road is env.road
    assert env.road.seed != 5


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("scenario", ["paper", "circuit"])
def test_the_curvature_ahead_is_the_roads(make, scenario, vehicle):
    env = make(scenario=scenario, vehicle=vehicle, roads="held_in", random_start=True, **SMALL)
    unit = env.vehicle.scale
    for seed in range(8):
        _, info = env.reset(seed=seed)
        road = env.road
        for ahead_m, found in zip((2.0, 5.0, 10.0), info["curvature_ahead_1pm"], strict=True):
            at_m = info["distance_m"] + ahead_m * unit
            assert found == pytest.approx(road.curvature_at(at_m), abs=1e-12)
            # and from the road's headings alone, over a metre: κ = dψ/ds
            turned = road.pose(at_m + 0.5 * unit)[2] - road.pose(at_m - 0.5 * unit)[2]
            seam = round(turned / (2 * math.pi)) * 2 * math.pi
            assert found == pytest.approx((turned - seam) / unit, abs=0.002 / unit)


@pytest.mark.parametrize("action", [(math.nan, 0.0), (0.0, math.nan)])
def test_an_action_that_is_no_number_harms_no_later_episode(make, action):
    env, fresh = make(**SMALL), make(**SMALL)
    env.reset(seed=0)
    with pytest.raises(ValueError):  # noqa: PT011 (of whatever words)
        env.step(np.array(action, np.float32))
    assert exact(*env.reset(seed=1)) == exact(*fresh.reset(seed=1))
    assert [reward for _, reward, *_ in wander(env, 10)] == [reward for _, reward, *_ in wander(fresh, 10)]


def test_closing_in_the_middle_of_a_drive_and_twice_is_harmless():
    env = LaneFollowing(scenario="wild", roads="held_in", obstacles=TRAFFIC, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(AHEAD)
    env.close()
    env.close()
    LaneFollowing().close()
