"""Roads of a known form, and a driver that knows where it is."""

import math

import numpy as np

from sim.lane_following import LaneFollowing
from sim.look import Look
from sim.road import STEP_M, Road
from sim.routes import LEAD_M, TAIL_M
from sim.scene import Scene
from sim.spec import VehicleSpec
from sim.vehicles import load_vehicle
from sim.world import World

CAR = load_vehicle("city_car")
LOOKAHEAD_M = 4.0  # at full size


def road_along(xy_m: np.ndarray, yaw_rad: np.ndarray, curvature_1pm: np.ndarray, **differently) -> Road:
    """A road 3 m wide through points STEP_M apart; `differently` are fields of Road."""
    half_m = np.full(len(xy_m), 1.5)
    fields = {"seed": 0, "length_m": 40.0, "closed": False, "unit_m": 1.0, "step_m": STEP_M, "lead_m": LEAD_M}
    fields |= {"left_m": half_m, "right_m": half_m}
    return Road(xy_m=xy_m, yaw_rad=yaw_rad, curvature_1pm=curvature_1pm, **fields | differently)


def straight(length_m: float = 40.0, lanes: int = 1) -> Road:
    """A road along the x axis, its lane's centre at y = 0; the route starts at x = 0."""
    x = np.arange(-LEAD_M, length_m + TAIL_M, STEP_M)
    return road_along(np.stack([x, 0 * x], axis=1), 0 * x, 0 * x, length_m=length_m, lanes=lanes)


def circle(radius_m: float, length_m: float = 40.0) -> Road:
    """A left bend about the origin; the route starts at (0, -radius)."""
    distance_m = np.arange(-LEAD_M, length_m + TAIL_M, STEP_M)
    yaw = distance_m / radius_m
    xy = radius_m * np.stack([np.sin(yaw), -np.cos(yaw)], axis=1)
    return road_along(xy, yaw, np.full(len(yaw), 1 / radius_m), length_m=length_m)


def ring(radius_m: float, points: int = 256, turn: int = 1) -> Road:
    """A circuit about the origin from (radius, 0), to the left (turn = 1) or to the right (turn = -1)."""
    angle = turn * 2 * np.pi * np.arange(points) / points
    xy = radius_m * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lap_m = 2 * math.pi * radius_m
    circuit = {"length_m": lap_m, "closed": True, "step_m": lap_m / points, "lead_m": 0.0}
    return road_along(xy, angle + turn * np.pi / 2, np.full(points, turn / radius_m), **circuit)


def pure_pursuit(world: World, speed: float = 1.0) -> np.ndarray:
    """Steer at a point of the lane's centre ahead (Coulter 1992, κ = 2 sin α / l), from the rear axle."""
    x, y, yaw = world.pose
    vehicle, road = world.vehicle, world.road
    ahead_x, ahead_y, _ = road.pose(world.track.distance_m + LOOKAHEAD_M * road.unit_m)
    back = vehicle.wheelbase_m / 2
    dx, dy = ahead_x - x + back * math.cos(yaw), ahead_y - y + back * math.sin(yaw)
    alpha = math.atan2(dy, dx) - yaw
    steering_rad = math.atan(vehicle.wheelbase_m * 2 * math.sin(alpha) / math.hypot(dx, dy))
    return np.array([steering_rad / vehicle.max_steering_rad, speed], np.float32)


def scene(road: Road, vehicle: VehicleSpec = CAR) -> Scene:
    """That road on a fair day with nothing on it."""
    return Scene(road, Look(seed=road.seed), vehicle)


def wander(env: LaneFollowing, steps: int, seed: int = 0) -> list[tuple]:
    """Drive about for so many steps or until the episode is over; what each step returned."""
    rng, lived = np.random.default_rng(seed), []
    while len(lived) < steps and not (lived and (lived[-1][2] or lived[-1][3])):
        lived.append(env.step(rng.uniform([-0.2, 0.2], [0.2, 1.0]).astype(np.float32)))
    return lived


def exact(obs: dict[str, np.ndarray], info: dict) -> tuple:
    """An observation and info to compare bit for bit."""
    numbers = {name: np.asarray(found).tolist() for name, found in info.items()}
    return obs["image"].tobytes(), obs["state"].tobytes(), sorted(numbers.items())
