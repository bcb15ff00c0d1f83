"""Every simulated vehicle obeys geometry and the limits of its specification, at its own size."""

import math
from dataclasses import replace

import numpy as np
import pybullet
import pytest

from sim.car import CAR_GROUP, OBSTACLE_GROUP, SUBSTEP_S
from sim.look import Look
from sim.routes import make_road
from sim.scene import Scene
from sim.spec import LaneSpec
from sim.vehicles import VEHICLES, load_vehicle
from sim.world import World
from tests.sim.vehicles.rig import drive, on_plane

GRAVITY_MPS2 = 9.81


@pytest.fixture(scope="module", params=VEHICLES)
def car(request):
    with on_plane(load_vehicle(request.param)) as car:
        yield car


def test_it_has_the_name_it_is_known_by(car):
    assert load_vehicle(car.spec.name) == car.spec


def test_it_can_follow_the_tightest_bend_of_its_roads(car):
    spec, lane = car.spec, LaneSpec()
    radius_m = lane.min_radius_m * spec.scale
    assert spec.wheelbase_m / math.tan(spec.max_steering_rad) < 0.7 * radius_m
    assert spec.top_speed_mps**2 / radius_m < 0.5 * spec.tyre_friction * GRAVITY_MPS2
    assert spec.track_m < 0.8 * lane.width_m * spec.scale


@pytest.mark.parametrize("speed", [0.3, 1.0])
@pytest.mark.parametrize("steering", [1.0, -0.5, 0.2, -0.05])
def test_it_turns_on_the_bicycle_models_circle(car, steering, speed):
    spec = car.spec
    car.place(1.0, 2.0, 0.7)
    x, y, yaw, _, steering_rad, yaw_rate = drive(car, steering, speed, 120)[50:].T
    rear_x, rear_y = x - spec.wheelbase_m / 2 * np.cos(yaw), y - spec.wheelbase_m / 2 * np.sin(yaw)
    travelled_m = np.hypot(np.diff(rear_x), np.diff(rear_y)).sum()
    turned_rad = np.unwrap(yaw)[-1] - np.unwrap(yaw)[0]
    radius_m = spec.wheelbase_m / math.tan(steering * spec.max_steering_rad)
    assert travelled_m / turned_rad == pytest.approx(radius_m, rel=0.01)
    assert steering_rad == pytest.approx(steering * spec.max_steering_rad, rel=0.002)
    assert yaw_rate == pytest.approx(speed * spec.top_speed_mps / radius_m, rel=0.02)


def test_it_goes_straight_when_it_is_not_steered(car):
    car.place(0.0, 0.0, 0.0)
    x, y, yaw = drive(car, 0.0, 1.0, 110)[-1, :3]
    assert x > 9 * car.spec.top_speed_mps
    assert (y / car.spec.scale, yaw) == pytest.approx((0, 0), abs=1e-3)


def test_it_takes_v_over_a_to_reach_top_speed(car):
    spec = car.spec
    car.place(0.0, 0.0, 0.0)
    speed = drive(car, 0.0, 1.0, 120, SUBSTEP_S)[:, 3]
    reached_s = (np.argmax(speed >= 0.999 * spec.top_speed_mps) + 1) * SUBSTEP_S
    assert reached_s == pytest.approx(spec.top_speed_mps / spec.max_acceleration_mps2, abs=1.5 * SUBSTEP_S)
    assert speed[-30:] == pytest.approx(spec.top_speed_mps, rel=1e-3)
    assert np.diff(speed).max() / SUBSTEP_S <= spec.max_acceleration_mps2 * 1.01


def test_it_stops_within_v_squared_over_two_a_and_stays(car):
    spec = car.spec
    car.place(0.0, 0.0, 0.0)
    moving = drive(car, 0.0, 1.0, 40)[-1]
    stopped = drive(car, 0.0, 0.0, 15)[-1]
    ideal_m = moving[3] ** 2 / (2 * spec.max_braking_mps2)
    assert stopped[0] - moving[0] == pytest.approx(ideal_m, abs=moving[3] * SUBSTEP_S)
    later = drive(car, 0.0, 0.0, 100)
    assert np.abs(later[:, :3] - stopped[:3]).max() < 1e-6
    assert np.abs(later[:, [3, 5]]).max() < 1e-6


@pytest.mark.parametrize("speed", [0.15, 0.5, 0.8])
def test_it_keeps_the_speed_that_it_is_told_in_a_bend(car, speed):
    car.place(0.0, 0.0, 0.0)
    assert drive(car, 0.1, speed, 60)[-10:, 3] == pytest.approx(speed * car.spec.top_speed_mps, rel=0.01)


def test_its_wheels_are_where_they_are_told_to_be_within_two_periods(car):
    lock_rad = car.spec.max_steering_rad
    car.place(0.0, 0.0, 0.0)
    turning = drive(car, 0.5, 0.3, 2)[:, 4]
    assert 0.8 * 0.5 * lock_rad < turning[0] < 0.5 * lock_rad
    assert turning[1] == pytest.approx(0.5 * lock_rad, rel=0.02)


def test_left_and_right_are_mirror_images(car):
    ends = []
    for side in (1, -1):
        car.place(0.0, 0.0, 0.0)
        ends.append(drive(car, side * 0.4, 1.0, 30) * [1, side, side, 1, side, side])
    assert ends[0] == pytest.approx(ends[1], abs=0.005)  # the solver takes one wheel first


def test_the_same_drive_after_place_is_the_same_bit_for_bit(car):
    ends = []
    for steering, steps in ((0.7, 20), (-0.4, 1), (0.0, 0)):
        car.place(5.0, 0.0, 1.0)
        drive(car, steering, 1.0, steps)
        car.place(0.0, 0.0, 0.3)
        ends.append(np.vstack([drive(car, 0.1, 0.7, 15), drive(car, -1.0, 1.0, 15), drive(car, 0.3, 0.0, 15)]))
    assert ends[0].tobytes() == ends[1].tobytes() == ends[2].tobytes()


def test_another_mass_and_friction_make_it_the_car_that_was_built_so(car):
    preset = car.spec
    changed = replace(preset, mass_kg=1.3 * preset.mass_kg, tyre_friction=0.3)
    with on_plane(changed) as built:
        built.place(0.0, 0.0, 0.0)
        expected = np.vstack([drive(built, 1.0, 1.0, 30), drive(built, -0.5, 0.0, 30)])
    car.place(0.0, 0.0, 0.0)
    before = drive(car, 1.0, 1.0, 30)
    car.respec(changed)
    car.place(0.0, 0.0, 0.0)
    turned = np.vstack([drive(car, 1.0, 1.0, 30), drive(car, -0.5, 0.0, 30)])
    car.respec(preset)
    car.place(0.0, 0.0, 0.0)
    assert turned.tobytes() == expected.tobytes()
    assert drive(car, 1.0, 1.0, 30).tobytes() == before.tobytes()


@pytest.mark.parametrize(("gap", "touches"), [(-0.02, True), (0.02, False)])
@pytest.mark.parametrize("bearing_rad", [0.0, math.pi / 2, math.pi, -math.pi / 2])
def test_it_touches_what_its_body_reaches(car, bearing_rad, gap, touches):
    """A post stands `gap` (at full size, in m) off the middle of the body's front, side or back."""
    spec = car.spec
    along = math.cos(bearing_rad) ** 2 > 0.5
    post_m = 0.2 * spec.scale
    off_m = (spec.length_m if along else spec.width_m) / 2 + post_m / 2 + gap * spec.scale
    where = [off_m * math.cos(bearing_rad), off_m * math.sin(bearing_rad), spec.height_m / 2]
    box = [post_m / 2, post_m / 2, spec.height_m / 2]
    shape = pybullet.createCollisionShape(pybullet.GEOM_BOX, halfExtents=box, physicsClientId=car.client)
    post = pybullet.createMultiBody(0, shape, basePosition=where, physicsClientId=car.client)
    pybullet.setCollisionFilterGroupMask(post, -1, OBSTACLE_GROUP, CAR_GROUP, car.client)
    car.place(0.0, 0.0, 0.0)
    pybullet.performCollisionDetection(car.client)
    contacts = pybullet.getContactPoints(car.body, post, physicsClientId=car.client)
    pybullet.removeBody(post, car.client)
    assert bool(contacts) == touches


def test_only_its_wheels_touch_the_ground(car):
    car.place(0.0, 0.0, 0.0)
    drive(car, 0.3, 1.0, 20)
    pybullet.performCollisionDetection(car.client)
    contacts = pybullet.getContactPoints(car.body, physicsClientId=car.client)
    x, y, yaw = car.measured[:3]
    touching = np.array([complex(*contact[5][:2]) for contact in contacts])
    wheels = {complex(a, b) for a in (-1, 1) for b in (-1, 1)}
    local = (touching - complex(x, y)) * np.exp(-1j * yaw)
    corners = np.round(local.real / car.spec.wheelbase_m * 2, 1) + 1j * np.round(local.imag / car.spec.track_m * 2, 1)
    assert set(corners) == wheels


@pytest.mark.parametrize("name", VEHICLES)
def test_its_camera_sees_both_lines_of_its_lane(name):
    vehicle = load_vehicle(name)
    world = World(Scene(make_road(0, unit_m=vehicle.scale), Look(), vehicle))
    bright = world.capture().astype(int).min(axis=2) > 180
    bright[: np.flatnonzero(~bright.all(axis=1))[0] + 1] = False
    world.close()
    nearest = bright[vehicle.camera.height_px // 2 :]
    assert nearest[:, :32].any()
    assert nearest[:, 32:].any()
