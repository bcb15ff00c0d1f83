"""Every vehicle of the simulator stands, drives, steers and stops."""

import numpy as np
import pytest

from sim.spec import CONTROL_PERIOD_S
from sim.vehicles import VEHICLES, load_vehicle
from sim.world import World
from tests.sim.scenes import straight


@pytest.fixture(params=VEHICLES)
def world(request):
    world = World(straight(), load_vehicle(request.param))
    yield world
    world.close()


def drive(world: World, steering: float, speed: float, seconds: float) -> None:
    for _ in range(round(seconds / CONTROL_PERIOD_S)):
        world.command(np.array([steering, speed]))
        world.advance(CONTROL_PERIOD_S)


@pytest.mark.parametrize("name", VEHICLES)
def test_its_name_is_that_of_the_registry(name):
    assert load_vehicle(name).name == name


def test_it_stands_on_its_wheels_within_its_lane(world):
    drive(world, 0.0, -1.0, 1.0)
    assert world.pose == pytest.approx((0, 0, 0), abs=0.01)
    assert world.disengagement is None


def test_it_reaches_its_top_speed_and_stops_again(world):
    vehicle = world.vehicle
    drive(world, 0.0, 1.0, 1.0 + 1.5 * vehicle.top_speed_mps / vehicle.max_acceleration_mps2)
    assert world.speed_mps == pytest.approx(vehicle.top_speed_mps, rel=0.02)
    drive(world, 0.0, -1.0, 0.5 + 1.5 * vehicle.top_speed_mps / vehicle.max_braking_mps2)
    assert world.speed_mps == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("side", [1, -1])
def test_it_turns_to_the_side_that_it_steers_to(world, side):
    drive(world, side * 0.5, 0.0, 3.0)
    assert side * world.steering_rad == pytest.approx(0.5 * world.vehicle.max_steering_rad, rel=0.05)
    assert side * world.pose[2] > 0.05


def test_its_camera_sees_the_road(world):
    camera = world.vehicle.camera
    image = world.image()
    assert image.shape == (camera.height_px, camera.width_px, 3)
    assert image.std() > 5
