"""Roads of a known form, and a driver that knows where it is."""

import math

import numpy as np

from sim.road import LEAD_M, STEP_M, TAIL_M, Road
from sim.spec import LaneSpec
from sim.vehicles import load_vehicle
from sim.world import World

CAR = load_vehicle("city_car")
LOOKAHEAD_M = 4.0


def straight(length_m: float = 40.0, lanes: int = 1) -> Road:
    """A road along the x axis, its lane's centre at y = 0; the route starts at x = 0."""
    x = np.arange(-LEAD_M, length_m + TAIL_M, STEP_M)
    return Road(0, length_m, LaneSpec(lanes=lanes), np.stack([x, 0 * x], axis=1), 0 * x, 0 * x)


def circle(radius_m: float, length_m: float = 40.0) -> Road:
    """A left bend about the origin; the route starts at (0, -radius)."""
    distance_m = np.arange(-LEAD_M, length_m + TAIL_M, STEP_M)
    yaw = distance_m / radius_m
    xy = radius_m * np.stack([np.sin(yaw), -np.cos(yaw)], axis=1)
    return Road(0, length_m, LaneSpec(), xy, yaw, np.full(len(yaw), 1 / radius_m))


def pure_pursuit(world: World, speed: float = 1.0) -> np.ndarray:
    """Steer at a point of the lane's centre ahead (Coulter 1992, κ = 2 sin α / l), from the rear axle."""
    x, y, yaw = world.pose
    ahead_x, ahead_y, _ = world.road.pose(world.track.distance_m + LOOKAHEAD_M)
    back = CAR.wheelbase_m / 2
    dx, dy = ahead_x - x + back * math.cos(yaw), ahead_y - y + back * math.sin(yaw)
    alpha = math.atan2(dy, dx) - yaw
    steering_rad = math.atan(CAR.wheelbase_m * 2 * math.sin(alpha) / math.hypot(dx, dy))
    return np.array([steering_rad / CAR.max_steering_rad, speed], np.float32)
