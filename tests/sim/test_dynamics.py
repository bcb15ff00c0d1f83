"""Late, lagging and shifted commands, late and lost frames, and cars that are drawn within a range."""

import math
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.dynamics import Actuation, Dynamics, DynamicsRange, FrameDelay, draw_dynamics
from sim.vehicles import load_vehicle

CAR = load_vehicle("city_car")
PERIOD_S = 0.1
LOCK_RAD = math.radians(30)
REACH = 0.8 * 0.1 / LOCK_RAD  # action units a period: 0.8 rad/s for 0.1 s of a lock of 30°
TOP_MPS = 10 / 3.6
ACTIONS = st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=12)


def executed_and_targets(dynamics: Dynamics, actions: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is executed (n, 2), and the targets of the wheels in rad and of the speed in m/s, (n,)."""
    actuation = Actuation(dynamics, CAR, PERIOD_S)
    executed, wheels, speeds = zip(*(actuation.command(np.array(action)) for action in actions), strict=True)
    return np.array(executed), np.array(wheels), np.array(speeds)


def test_by_default_wheels_and_speed_are_told_what_is_executed():
    executed, wheels, speeds = executed_and_targets(Dynamics(), [(0.1, 0.5), (0.2, -1.0), (0.05, 1.0)])
    assert executed == pytest.approx(np.array([(0.1, 0.5), (0.2, -1.0), (0.05, 1.0)]))
    assert wheels == pytest.approx(LOCK_RAD * np.array([0.1, 0.2, 0.05]))
    assert speeds == pytest.approx(TOP_MPS * np.array([0.75, 0.0, 1.0]))


def test_steering_moves_by_its_rate_until_it_is_there():
    executed, _, _ = executed_and_targets(Dynamics(), [(1.0, -1.0)] * 10 + [(-0.1, -1.0)] * 10)
    assert executed[:10, 0] == pytest.approx(np.minimum(REACH * np.arange(1, 11), 1.0), abs=1e-6)
    assert executed[10:, 0] == pytest.approx(np.maximum(1 - REACH * np.arange(1, 11), -0.1), abs=1e-6)


@given(actions=ACTIONS, delay=st.integers(0, 3))
def test_executed_actions_are_within_bounds_rate_and_float32(actions, delay):
    actuation = Actuation(Dynamics(actuation_delay=delay), CAR, PERIOD_S)
    executed = [actuation.reset()] + [actuation.command(np.array(action))[0] for action in actions]
    assert all(action.dtype == np.float32 and np.abs(action).max() <= 1 for action in executed)
    assert all(abs(after[0] - before[0]) <= REACH + 1e-6 for before, after in pairwise(executed))


@given(actions=ACTIONS, delay=st.integers(1, 3))
def test_a_delay_executes_the_same_so_many_periods_later(actions, delay):
    prompt = executed_and_targets(Dynamics(), actions + [(0.0, 0.0)] * delay)
    late = executed_and_targets(Dynamics(actuation_delay=delay), actions + [(0.0, 0.0)] * delay)
    assert late[0][:delay].tolist() == [[0.0, -1.0]] * delay
    assert late[2][:delay].tolist() == [0.0] * delay
    for ours, theirs in zip(late, prompt, strict=True):
        assert ours[delay:].tolist() == theirs[: len(actions)].tolist()


def test_wheels_follow_a_lag_as_a_first_order_system_does():
    executed, wheels, _ = executed_and_targets(Dynamics(steering_lag_s=0.2), [(0.15, 0.0)] * 10)
    time_s = PERIOD_S * np.arange(1, 11)
    assert wheels == pytest.approx(0.15 * LOCK_RAD * (1 - np.exp(-time_s / 0.2)), rel=1e-6)
    assert executed[:, 0] == pytest.approx(0.15)


def test_the_offset_turns_the_wheels_and_is_not_told():
    executed, wheels, _ = executed_and_targets(Dynamics(steering_offset_rad=-0.03), [(0.1, 0.0), (0.0, 0.0)])
    assert executed[:, 0] == pytest.approx([0.1, 0.0])
    assert wheels == pytest.approx([0.1 * LOCK_RAD - 0.03, -0.03])


def test_braking_is_at_once_and_holds_the_steering_whatever_was_on_its_way():
    actuation = Actuation(Dynamics(steering_offset_rad=0.01, actuation_delay=2), CAR, PERIOD_S)
    for _ in range(4):
        actuation.command(np.array([0.1, 1.0]))
    actuation.command(np.array([-1.0, 1.0]))
    executed, wheels_rad, speed_mps = actuation.brake()
    assert executed.tolist() == pytest.approx([0.1, -1.0])
    assert (wheels_rad, speed_mps) == (pytest.approx(0.1 * LOCK_RAD + 0.01), 0.0)
    after = [actuation.command(np.array([0.2, 0.5]))[0].tolist() for _ in range(3)]
    assert after == [pytest.approx([0.1, -1.0]), pytest.approx([0.1, -1.0]), pytest.approx([0.2, 0.5])]


@given(actions=ACTIONS)
def test_a_reset_actuation_remembers_nothing(actions):
    dynamics = Dynamics(0.02, 0.1, actuation_delay=2)
    actuation = Actuation(dynamics, CAR, PERIOD_S)
    for action in actions:
        actuation.command(np.array(action))
    assert actuation.reset().tolist() == [0.0, -1.0]
    again = [actuation.command(np.array(action)) for action in actions]
    fresh = executed_and_targets(dynamics, actions)
    assert [wheels for _, wheels, _ in again] == fresh[1].tolist()


def seen(dynamics: Dynamics, frames: int, seed: int = 0) -> list[int]:
    """Which frame is seen at each of so many periods."""
    delay = FrameDelay(replace(dynamics, seed=seed))
    return [int(delay(np.full((2, 2, 3), i, np.uint8))[0, 0, 0]) for i in range(frames)]


def test_frames_are_seen_as_taken_by_default():
    assert seen(Dynamics(), 4) == [0, 1, 2, 3]


@pytest.mark.parametrize(("delay", "expected"), [(1, [0, 0, 1, 2, 3]), (2, [0, 0, 0, 1, 2])])
def test_late_frames_are_late_by_that_and_the_first_is_seen_until_then(delay, expected):
    assert seen(Dynamics(frame_delay=delay), 5) == expected


def test_instead_of_a_lost_frame_the_one_before_is_seen_again():
    shown = np.array(seen(Dynamics(frame_drop=0.3), 250))
    lost = shown[1:] != np.arange(1, 250)
    assert (shown[1:][lost] == shown[:-1][lost]).all()
    assert np.mean(lost) == pytest.approx(0.3, abs=0.1)  # 3.4 standard deviations
    assert shown.tolist() == seen(Dynamics(frame_drop=0.3), 250)
    assert shown.tolist() != seen(Dynamics(frame_drop=0.3), 250, seed=1)


def test_a_late_frame_is_not_changed_by_what_happens_to_the_buffers():
    delay = FrameDelay(Dynamics(frame_delay=1))
    buffer = np.zeros((2, 2, 3), np.uint8)
    for i in range(4):
        buffer[:] = i
        frame = delay(buffer)
        assert (frame == max(i - 1, 0)).all()
        frame[:] = 99


def test_nothing_varies_by_default():
    drawn, dynamics = draw_dynamics(DynamicsRange(), CAR, np.random.default_rng(0))
    assert drawn == CAR
    assert dynamics == Dynamics()


WITHIN = DynamicsRange(0.2, 0.3, 0.03, 0.15, 0.1, 0.05, 0.04, 0.06, actuation_delay=3, frame_delay=2, frame_drop=0.1)


def test_cars_are_drawn_from_the_whole_range_and_only_from_it():
    rng = np.random.default_rng(0)
    cars = [draw_dynamics(WITHIN, CAR, rng) for _ in range(400)]
    camera = CAR.camera
    differences = {
        "mass": ([car.mass_kg / CAR.mass_kg - 1 for car, _ in cars], -0.2, 0.2),
        "friction": ([car.tyre_friction / CAR.tyre_friction - 1 for car, _ in cars], -0.3, 0.3),
        "height": ([car.camera.height_m / camera.height_m - 1 for car, _ in cars], -0.1, 0.1),
        "pitch": ([car.camera.pitch_rad - camera.pitch_rad for car, _ in cars], -0.05, 0.05),
        "yaw": ([car.camera.yaw_rad - camera.yaw_rad for car, _ in cars], -0.04, 0.04),
        "fov": ([car.camera.fov_rad - camera.fov_rad for car, _ in cars], -0.06, 0.06),
        "offset": ([dynamics.steering_offset_rad for _, dynamics in cars], -0.03, 0.03),
        "lag": ([dynamics.steering_lag_s for _, dynamics in cars], 0, 0.15),
        "drop": ([dynamics.frame_drop for _, dynamics in cars], 0, 0.1),
    }
    for name, (drawn, least, most) in differences.items():
        assert least <= min(drawn) < least + 0.05 * (most - least), name
        assert most >= max(drawn) > most - 0.05 * (most - least), name
    assert {dynamics.actuation_delay for _, dynamics in cars} == {0, 1, 2, 3}
    assert {dynamics.frame_delay for _, dynamics in cars} == {0, 1, 2}


def test_the_same_seed_draws_the_same_car_and_nothing_else_of_it_varies():
    first, second = (draw_dynamics(WITHIN, CAR, np.random.default_rng(5)) for _ in range(2))
    assert first == second
    camera = replace(first[0].camera, height_m=1.3, pitch_rad=math.radians(20), yaw_rad=0.0, fov_rad=math.radians(80))
    assert replace(first[0], mass_kg=560.0, tyre_friction=0.9, camera=camera) == CAR


@pytest.mark.parametrize("field", asdict(DynamicsRange()))
def test_one_range_more_changes_no_other_draw(field):
    without = replace(WITHIN, **{field: type(getattr(WITHIN, field))(0)})
    (car, dynamics), (plain_car, plain) = (draw_dynamics(w, CAR, np.random.default_rng(3)) for w in (WITHIN, without))
    before = asdict(car.camera) | asdict(car) | asdict(dynamics)
    after = asdict(plain_car.camera) | asdict(plain_car) | asdict(plain)
    changed = {name for name in before if before[name] != after[name]} - {"camera", "seed"}
    assert len(changed) <= 1
