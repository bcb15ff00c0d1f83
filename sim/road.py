"""A road as its lane's centreline: curvature first, then heading, then position.

The curvature is piecewise constant (straights and bends) smoothed by a moving average, so that it changes
linearly between them: the transitions are clothoids, and a wheel can follow them without a jump.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sim.spec import LaneSpec

STEP_M = 0.25  # between two points of a centreline
LEAD_M = 12.0  # of road before the start of the route
TAIL_M = 40.0  # of road beyond its end, so that the camera does not see the road stop
TRANSITION_M = 8.0  # from one curvature to the next
SEARCH = 24  # points either way in which the car is looked for: 6 m, twenty times what it drives in a step


@dataclass(frozen=True)
class Road:
    """A route of `length_m` along the centre of a lane.

    xy_m: (n, 2) float64; yaw_rad, curvature_1pm: (n,) float64, left positive; point i lies at distance
    i * STEP_M - LEAD_M from the start of the route.
    """

    seed: int
    length_m: float
    lane: LaneSpec
    xy_m: np.ndarray
    yaw_rad: np.ndarray
    curvature_1pm: np.ndarray

    @cached_property
    def tangent(self) -> np.ndarray:
        """Unit vectors along the lane, (n, 2)."""
        return np.stack([np.cos(self.yaw_rad), np.sin(self.yaw_rad)], axis=1)

    def index(self, distance_m: float) -> int:
        """Return the centreline point nearest to that distance along the route."""
        return min(max(round((distance_m + LEAD_M) / STEP_M), 0), len(self.xy_m) - 1)

    def pose(self, distance_m: float, lateral_offset_m: float = 0.0) -> tuple[float, float, float]:
        """Return (x_m, y_m, yaw_rad) at a distance along the route, that far left of the lane's centre."""
        i = self.index(distance_m)
        x, y = self.offset_line(lateral_offset_m)[i]
        return float(x), float(y), float(self.yaw_rad[i])

    def offset_line(self, left_m: float) -> np.ndarray:
        """Return the line that runs `left_m` left of the lane's centre, (n, 2) metres."""
        normal = np.stack([-self.tangent[:, 1], self.tangent[:, 0]], axis=1)
        return self.xy_m + left_m * normal

    def locate(self, x_m: float, y_m: float, near: int) -> tuple[int, float, float]:
        """Project a point onto the centreline, searched around point `near`.

        Returns (nearest point, distance_m along the route, lateral_offset_m with left positive).
        """
        start = max(near - SEARCH, 0)
        dx, dy = (np.array([x_m, y_m]) - self.xy_m[start : near + SEARCH + 1]).T
        i = int(np.argmin(dx * dx + dy * dy))
        tx, ty = self.tangent[start + i]
        along, left = dx[i] * tx + dy[i] * ty, dy[i] * tx - dx[i] * ty
        return start + i, (start + i) * STEP_M - LEAD_M + float(along), float(left)


def make_road(seed: int, length_m: float = 250.0, lane: LaneSpec | None = None) -> Road:
    """Draw a country road that never meets itself; the same seed gives the same road."""
    lane = lane or LaneSpec()
    rng = np.random.default_rng(seed)
    points = math.ceil((LEAD_M + length_m + TAIL_M) / STEP_M) + 1
    while True:
        curvature = _curvature(rng, points, lane.min_radius_m)
        yaw = np.concatenate([[0.0], np.cumsum((curvature[1:] + curvature[:-1]) / 2 * STEP_M)])
        middle = (yaw[1:] + yaw[:-1]) / 2
        steps = STEP_M * np.stack([np.cos(middle), np.sin(middle)], axis=1)
        xy = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
        if not _meets_itself(xy, clearance_m=lane.width_m * (lane.lanes + 3)):
            return Road(seed, length_m, lane, xy, yaw, curvature)


def _curvature(rng: np.random.Generator, points: int, min_radius_m: float) -> np.ndarray:
    """Straights and bends by turns, joined by linear transitions; (points,) in 1/m."""
    pieces = [np.zeros(round((LEAD_M + 6) / STEP_M))]
    while sum(map(len, pieces)) < points:
        radius = min_radius_m * math.exp(rng.uniform(0, math.log(5)))
        bend_m = radius * rng.uniform(math.radians(25), math.radians(80)) + TRANSITION_M
        pieces.append(np.full(round(bend_m / STEP_M), rng.choice([-1, 1]) / radius))
        pieces.append(np.zeros(round(rng.uniform(0, 25) / STEP_M)))
    window = round(TRANSITION_M / STEP_M)
    return np.convolve(np.concatenate(pieces)[:points], np.ones(window) / window, mode="same")


def _meets_itself(xy: np.ndarray, clearance_m: float) -> bool:
    """True when two places far apart along the road come closer than `clearance_m`."""
    stride = round(2.0 / STEP_M)
    coarse = xy[::stride]
    gap = np.linalg.norm(coarse[:, None] - coarse[None], axis=-1)
    distance_m = np.arange(len(coarse)) * stride * STEP_M
    far_along = np.abs(distance_m[:, None] - distance_m[None]) > 2 * clearance_m
    return bool((gap[far_along] < clearance_m).any())
