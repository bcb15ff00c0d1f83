"""What stands on a road leaves the car a way, what drives keeps to it, and touching either is noticed."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pybullet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.car import CAR_GROUP, GROUND_GROUP, OBSTACLE_GROUP
from sim.obstacles import KINDS, Obstacle, Traffic, draw_obstacles
from sim.road import STEP_M, Road

EVERYTHING = {"box": 4, "cone": 6, "parked car": 3, "lead vehicle": 1}
CAR_WIDTH_M, LEAD_SPEED_MPS = 1.24, 1.5


def bend(curvature_1pm: float, length_m: float = 250.0, unit_m: float = 1.0) -> Road:
    """An open road of one curvature from the origin along x, its lane 3 m wide at full size."""
    step_m = STEP_M * unit_m
    along = np.arange(0, length_m + step_m / 2, step_m)
    yaw = curvature_1pm * along
    xy = np.stack([along * np.sinc(yaw / np.pi), along * yaw / 2 * np.sinc(yaw / 2 / np.pi) ** 2], axis=1)
    half_m = np.full(len(along), 1.5 * unit_m)
    return Road(0, length_m, False, unit_m, step_m, 0.0, xy, yaw, 0 * yaw + curvature_1pm, half_m, half_m)


def ring(radius_m: float) -> Road:
    """A circuit to the left about (0, radius) from the origin."""
    yaw = np.arange(256) * 2 * np.pi / 256
    xy = radius_m * np.stack([np.sin(yaw), 1 - np.cos(yaw)], axis=1)
    half_m, lap_m = np.full(256, 1.5), 2 * math.pi * radius_m
    return Road(0, lap_m, True, 1.0, lap_m / 256, 0.0, xy, yaw, 0 * yaw + 1 / radius_m, half_m, half_m)


def draw(road: Road, seed: int = 0, kinds: dict = EVERYTHING, car_m: float = CAR_WIDTH_M) -> tuple[Obstacle, ...]:
    rng = np.random.default_rng(seed)
    return draw_obstacles(road, kinds, car_m * road.unit_m, LEAD_SPEED_MPS, rng)


def offsets_m(obstacle: Obstacle, road: Road) -> np.ndarray:
    """How far left of the lane's centre the outline of a thing on a bend or straight lies, in closed form."""
    solid = obstacle.at(road, obstacle.distance_m)
    cos, sin = math.cos(solid.yaw_rad), math.sin(solid.yaw_rad)
    side = np.linspace(-0.5, 0.5, 21)
    a = np.concatenate([side, side, 0 * side - 0.5, 0 * side + 0.5]) * solid.length_m
    b = np.concatenate([0 * side - 0.5, 0 * side + 0.5, side, side]) * solid.width_m
    x, y = solid.x_m + a * cos - b * sin, solid.y_m + a * sin + b * cos
    if road.curvature_1pm[0] == 0:
        return y
    radius = 1 / road.curvature_1pm[0]
    return radius - np.sign(radius) * np.hypot(x, y - radius)


curvatures = st.sampled_from([0.0, 1 / 14, -1 / 14, 1 / 60])


@given(st.integers(0, 2**31), curvatures, st.sampled_from([1.0, 0.1]), st.sampled_from([1.24, 2.3, 2.8]))
@settings(max_examples=60)
def test_a_car_can_pass_within_its_lane(seed, curvature, unit, car_m):
    road = bend(curvature / unit, 250.0 * unit, unit)
    standing = [obstacle for obstacle in draw(road, seed, car_m=car_m) if not obstacle.speed_mps]
    assert standing
    for obstacle in standing:
        outline = offsets_m(obstacle, road)
        free_m = outline.min() + 1.5 * unit if obstacle.lateral_offset_m > 0 else 1.5 * unit - outline.max()
        assert free_m >= (car_m + 0.5) * unit - 1e-6


@given(st.integers(0, 2**31), curvatures)
@settings(max_examples=40)
def test_things_keep_apart_and_away_from_the_start(seed, curvature):
    distances = sorted(obstacle.distance_m for obstacle in draw(bend(curvature), seed))
    assert distances[0] >= 15
    assert np.diff(distances).min() >= 12 - 1e-9
    assert distances[-1] <= 250


def test_a_longer_route_has_as_many_more():
    counts = Counter(obstacle.kind for obstacle in draw(bend(0.0, 500.0)))
    assert counts == {"box": 8, "cone": 12, "parked car": 6, "lead vehicle": 2}


def test_where_there_is_no_room_there_are_fewer():
    assert len(draw(bend(0.0, 51.0), kinds={"cone": 500})) == 4  # at 15, 27, 39 and 51 m
    assert draw(bend(0.0, 14.0), kinds={"cone": 500}) == ()


def test_everything_shrinks_with_the_road():
    full, tenth = draw(bend(0.0)), draw(bend(0.0, 25.0, unit_m=0.1))
    for big, small in zip(full, tenth, strict=True):
        measures = [small.length_m, small.width_m, small.height_m, small.distance_m, small.lateral_offset_m]
        expected = [big.length_m, big.width_m, big.height_m, big.distance_m, big.lateral_offset_m]
        assert measures == pytest.approx([m / 10 for m in expected])


def test_vehicles_ahead_start_before_what_stands_in_the_lane_s_middle():
    drawn = draw(bend(0.0), kinds={**EVERYTHING, "lead vehicle": 2})
    leads = [obstacle for obstacle in drawn if obstacle.kind == "lead vehicle"]
    assert [(lead.lateral_offset_m, lead.heading_error_rad, lead.speed_mps) for lead in leads] == [(0, 0, 1.5)] * 2
    assert max(lead.distance_m for lead in leads) < min(o.distance_m for o in drawn if o not in leads)


def test_the_same_seed_draws_the_same_and_another_something_else():
    assert draw(bend(0.0), 3) == draw(bend(0.0), 3)
    assert draw(bend(0.0), 3) != draw(bend(0.0), 4)


def test_a_kind_that_is_not_known_is_an_error():
    with pytest.raises(KeyError, match="elephant"):
        draw(bend(0.0), kinds={"elephant": 1})


# In PyBullet's collision world


@pytest.fixture
def client():
    client = pybullet.connect(pybullet.DIRECT)
    pybullet.setPhysicsEngineParameter(contactBreakingThreshold=0.001, physicsClientId=client)  # as the World
    yield client
    pybullet.disconnect(client)


def make_car(client: int) -> int:
    """A chassis of 2 m by 1 m by 0.6 m, 0.2 m above a ground on which its two front wheels stand."""
    ground = pybullet.createCollisionShape(pybullet.GEOM_PLANE, physicsClientId=client)
    floor = pybullet.createMultiBody(0, ground, physicsClientId=client)
    pybullet.setCollisionFilterGroupMask(floor, -1, GROUND_GROUP, CAR_GROUP, client)
    box = pybullet.createCollisionShape(pybullet.GEOM_BOX, halfExtents=[1, 0.5, 0.3], physicsClientId=client)
    wheel = pybullet.createCollisionShape(pybullet.GEOM_SPHERE, radius=0.25, physicsClientId=client)
    car = pybullet.createMultiBody(
        500,
        box,
        basePosition=[0, 0, 0.5],
        linkMasses=[10, 10],
        linkCollisionShapeIndices=[wheel, wheel],
        linkVisualShapeIndices=[-1, -1],
        linkPositions=[[0.7, 0.4, -0.25], [0.7, -0.4, -0.25]],
        linkOrientations=[[0, 0, 0, 1]] * 2,
        linkInertialFramePositions=[[0, 0, 0]] * 2,
        linkInertialFrameOrientations=[[0, 0, 0, 1]] * 2,
        linkParentIndices=[0, 0],
        linkJointTypes=[pybullet.JOINT_REVOLUTE] * 2,
        linkJointAxis=[[0, 1, 0]] * 2,
        physicsClientId=client,
    )
    pybullet.setCollisionFilterGroupMask(car, -1, CAR_GROUP, GROUND_GROUP | OBSTACLE_GROUP, client)
    for wheel in (0, 1):
        pybullet.setCollisionFilterGroupMask(car, wheel, CAR_GROUP, GROUND_GROUP, client)
    return car


def stand(client: int, car: int, x_m: float, y_m: float) -> None:
    pybullet.resetBasePositionAndOrientation(car, [x_m, y_m, 0.5], [0, 0, 0, 1], client)
    pybullet.resetBaseVelocity(car, [0, 0, 0], [0, 0, 0], client)
    pybullet.stepSimulation(client)


def thing(kind: str, distance_m: float, left_m: float = 0.0, speed_mps: float = 0.0) -> Obstacle:
    return Obstacle(kind, *KINDS[kind].sizes_m[0], (255, 0, 0), distance_m, left_m, 0.0, speed_mps)


@pytest.mark.parametrize("kind", ["box", "parked car"])
def test_touching_is_noticed_within_a_centimetre(client, kind):
    traffic, car = Traffic(client), make_car(client)
    traffic.lay(bend(0.0), [thing("cone", 80.0), thing(kind, 30.0)])
    bumper_m = 30 - KINDS[kind].sizes_m[0][0] / 2 - 1
    stand(client, car, bumper_m - 0.03, 0.0)
    assert not traffic.touching(car)
    stand(client, car, bumper_m + 0.01, 0.0)
    assert traffic.touching(car)
    beside_m = KINDS[kind].sizes_m[0][1] / 2 + 0.5
    stand(client, car, 30.0, beside_m + 0.03)
    assert not traffic.touching(car)
    stand(client, car, 30.0, beside_m - 0.01)
    assert traffic.touching(car)


def test_a_cone_tapers(client):
    traffic, car = Traffic(client), make_car(client)
    traffic.lay(bend(0.0), [thing("cone", 30.0)])  # 0.18 m half wide at its foot, 0.108 m as high as the chassis
    stand(client, car, 28.85, 0.0)
    assert not traffic.touching(car)
    stand(client, car, 28.90, 0.0)
    assert traffic.touching(car)


def test_what_is_no_longer_on_the_road_is_not_touched(client):
    traffic, car = Traffic(client), make_car(client)
    traffic.lay(bend(0.0), [thing("box", 30.0)])
    traffic.lay(bend(0.0), [thing("box", 60.0)])
    stand(client, car, 30.0, 0.0)
    assert not traffic.touching(car)
    stand(client, car, 60.0, 0.0)
    assert traffic.touching(car)
    traffic.lay(bend(0.0), [])
    stand(client, car, 60.0, 0.0)
    assert not traffic.touching(car)


def test_a_vehicle_ahead_drives_along_the_lane_at_its_speed(client):
    traffic, car = Traffic(client), make_car(client)
    traffic.lay(ring(20.0), [thing("lead vehicle", 10.0, speed_mps=2.0), thing("box", 40.0, 1.5)])
    for _ in range(30):
        traffic.advance(0.1)
    box, lead = traffic.solids()
    assert (lead.x_m, lead.y_m) == pytest.approx((20 * math.sin(16 / 20), 20 - 20 * math.cos(16 / 20)), abs=1e-3)
    assert lead.yaw_rad == pytest.approx(16 / 20)
    assert (box.x_m, box.y_m) == pytest.approx((18.5 * math.sin(2), 20 - 18.5 * math.cos(2)), abs=1e-3)
    stand(client, car, lead.x_m, lead.y_m)
    assert traffic.touching(car)
    traffic.advance(5.0)
    pybullet.stepSimulation(client)
    assert not traffic.touching(car)


def test_on_a_circuit_a_vehicle_goes_round(client):
    traffic = Traffic(client)
    traffic.lay(ring(20.0), [thing("lead vehicle", 10.0, speed_mps=2.0)])
    start = traffic.solids()[0]
    traffic.advance(2 * 2 * math.pi * 20 / 2.0)
    assert traffic.solids()[0][1:3] == pytest.approx(start[1:3], abs=1e-9)
    assert math.remainder(traffic.solids()[0].yaw_rad - start.yaw_rad, 2 * math.pi) == pytest.approx(0, abs=1e-9)


def test_past_the_end_of_an_open_road_a_vehicle_is_gone_until_the_next_episode(client):
    traffic, car = Traffic(client), make_car(client)
    traffic.lay(bend(0.0, 50.0), [thing("lead vehicle", 20.0, speed_mps=2.0)])
    traffic.advance(14.9)
    assert traffic.solids()[0].x_m == pytest.approx(49.8)
    traffic.advance(0.2)
    assert traffic.solids() == []
    stand(client, car, 50.0, 0.0)
    assert not traffic.touching(car)
    traffic.reset()
    assert traffic.solids()[0].x_m == pytest.approx(20.0)


def test_a_vehicle_starts_ahead_of_where_the_car_does(client):
    traffic = Traffic(client)
    traffic.lay(bend(0.0), [thing("box", 30.0), thing("lead vehicle", 20.0, speed_mps=2.0)])
    traffic.advance(3.0)
    traffic.reset(start_m=100.0)
    assert [solid.x_m for solid in traffic.solids()] == pytest.approx([30.0, 120.0])


def test_two_thousand_roads_take_no_more_memory(client):
    road, traffic = bend(0.0), Traffic(client)
    roads = [draw(road, seed) for seed in range(50)]
    for _ in range(2):
        for obstacles in roads:
            traffic.lay(road, obstacles)
    bodies, before = pybullet.getNumBodies(client), resident_mb()
    for _ in range(40):
        for obstacles in roads:
            traffic.lay(road, obstacles)
    assert pybullet.getNumBodies(client) == bodies
    assert resident_mb() - before < 2


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def crash(client: int, roads: list[tuple[Obstacle, ...]]) -> list[tuple]:
    """The car's poses on the last of the roads, driven into a cone and a box."""
    traffic, car = Traffic(client), make_car(client)
    for obstacles in roads:
        traffic.lay(bend(0.0), obstacles)
        stand(client, car, 0.0, 0.0)
    pybullet.resetBaseVelocity(car, [8, 0.3, 0], [0, 0, 0.1], client)
    poses = []
    for _ in range(240):
        pybullet.stepSimulation(client)
        poses.append((pybullet.getBasePositionAndOrientation(car, client), traffic.touching(car)))
    return poses


def test_what_stood_on_earlier_roads_changes_nothing():
    last = (thing("cone", 5.0, 0.6), thing("box", 6.0, -0.5), thing("lead vehicle", 9.0, speed_mps=1.0))
    runs = []
    for earlier in ([], [draw(bend(0.0), seed) for seed in range(20)]):
        client = pybullet.connect(pybullet.DIRECT)
        runs.append(crash(client, [*earlier, last]))
        pybullet.disconnect(client)
    assert runs[0] == runs[1]
    assert any(touched for _, touched in runs[0])
