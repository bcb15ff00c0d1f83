"""A road as its lane's centreline: points, headings and curvatures along it, and where a place lies on it."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

STEP_M = 0.25  # between two points of a centreline, at full size
SHOULDER_M = 0.5  # of pavement beyond the outer lanes, at full size
LEAST_NARROWING = 0.2  # beyond a bend's centre no point is the nearest
MAX_HOPS = 20  # of Newton's method along a centreline; from a few metres away it takes two


@dataclass(frozen=True, eq=False)
class Road:
    """A route of `length_m` along the centre of a lane, or a circuit whose laps are that long.

    Point i lies at distance i * step_m - lead_m from the start of the route.
    """

    seed: int
    length_m: float
    closed: bool  # the last point is followed by the first
    unit_m: float  # what a metre at full size measures here: 0.1 on a road for a 1/10 car
    step_m: float  # between two points
    lead_m: float  # of road before the start of the route; 0 on a circuit
    xy_m: np.ndarray  # (n, 2) float64
    yaw_rad: np.ndarray  # (n,) float64, unwrapped, left positive
    curvature_1pm: np.ndarray  # (n,) float64, left positive
    left_m: np.ndarray  # (n,) float64: how far the left edge of the car's lane lies from its centre …
    right_m: np.ndarray  # … and the right one, also positive
    lanes: int = 1  # of one width; the car keeps to the rightmost

    @cached_property
    def tangent(self) -> np.ndarray:
        """Unit vectors along the lane, (n, 2)."""
        return np.stack([np.cos(self.yaw_rad), np.sin(self.yaw_rad)], axis=1)

    @property
    def pavement(self) -> tuple[np.ndarray, np.ndarray]:
        """How far left of the lane's centre the pavement's right edge (negative) and left edge lie, (n,) each."""
        shoulder_m = SHOULDER_M * self.unit_m
        other_lanes_m = (self.lanes - 1) * (self.left_m + self.right_m)
        return -self.right_m - shoulder_m, self.left_m + other_lanes_m + shoulder_m

    def offset_line(self, left_m: float | np.ndarray) -> np.ndarray:
        """Return the line that runs `left_m`, a float or (n,), left of the lane's centre, (n, 2) metres."""
        normal = np.stack([-self.tangent[:, 1], self.tangent[:, 0]], axis=1)
        return self.xy_m + np.asarray(left_m)[..., None] * normal

    def index(self, distance_m: float) -> int:
        """Return the point nearest to that distance along the route; before an open road's ends, the end."""
        return self._on_road(round((distance_m + self.lead_m) / self.step_m))

    def pose(self, distance_m: float, lateral_offset_m: float = 0.0) -> tuple[float, float, float]:
        """Return (x_m, y_m, yaw_rad) at a distance along the route, that far left of the lane's centre.

        Between two points the centre is the cubic that leaves and meets them along their tangents (Hermite).
        """
        i, part = self._span(distance_m)
        x, y, cos, sin, yaw, _ = self._lists
        ahead, bow = part * part * (3 - 2 * part), part * (1 - part) * self.step_m
        centre_x = x[i] + ahead * (x[i + 1] - x[i]) + bow * ((1 - part) * cos[i] - part * cos[i + 1])
        centre_y = y[i] + ahead * (y[i + 1] - y[i]) + bow * ((1 - part) * sin[i] - part * sin[i + 1])
        heading = yaw[i] + part * (yaw[i + 1] - yaw[i])
        return centre_x - lateral_offset_m * math.sin(heading), centre_y + lateral_offset_m * math.cos(heading), heading

    def heading_at(self, distance_m: float) -> float:
        """Return the lane's heading in radians, linear between the points; a lap later it is the same."""
        i, part = self._span(distance_m)
        yaw = self._lists[4]
        return yaw[i] + part * (yaw[i + 1] - yaw[i])

    def curvature_at(self, distance_m: float) -> float:
        """Return the lane's curvature in 1/m, left positive, linear between the points."""
        i, part = self._span(distance_m)
        curvature = self._lists[5]
        return curvature[i] + part * (curvature[i + 1] - curvature[i])

    def locate(self, x_m: float, y_m: float, near: int) -> tuple[int, float, float]:
        """Project a place onto the centreline by Newton's method, begun at point `near`.

        Each point stands for the arc of its curvature: a place `left` of it is passed 1/(1 − κ·left) times as
        fast as the centre, and the arc leaves its tangent by κs²/2. Returns (nearest point, distance_m along
        the route, lateral_offset_m with left positive); on a circuit the distance is in [0, a lap) give or
        take half a step.
        """
        xs, ys, cosines, sines, _, curvatures = self._lists
        i, before = near, -1
        along = offset = 0.0
        for _ in range(MAX_HOPS):
            dx, dy, cos, sin, curvature = x_m - xs[i], y_m - ys[i], cosines[i], sines[i], curvatures[i]
            tangential, left = dx * cos + dy * sin, dy * cos - dx * sin
            narrowing = 1 - curvature * left
            along = tangential / (narrowing if narrowing > LEAST_NARROWING else LEAST_NARROWING)
            offset = left - curvature * tangential * along / 2
            nearest = self._on_road(i + round(along / self.step_m))
            if nearest in (i, before):
                break
            i, before = nearest, i
        return i, i * self.step_m - self.lead_m + along, offset

    def _on_road(self, i: int) -> int:
        count = len(self.xy_m)
        if self.closed:
            return i % count
        return 0 if i < 0 else i if i < count else count - 1

    def _span(self, distance_m: float) -> tuple[int, float]:
        """Which point comes before that distance, and what part of the way to the next one it is, in [0, 1]."""
        along, spans = (distance_m + self.lead_m) / self.step_m, self._spans
        if self.closed:
            along %= spans
        elif along < 0:
            return 0, 0.0
        i = int(along)
        return (i, along - i) if i < spans else (spans - 1, 1.0)

    @cached_property
    def _spans(self) -> int:
        """How many steps there are between points."""
        return len(self._lists[0]) - 1

    @cached_property
    def _lists(self) -> tuple[tuple[float, ...], ...]:
        """x, y, cos, sin, yaw, curvature of each point as plain floats, ten times as fast to pick from as arrays;
        tuples, as the garbage collector passes those of floats by.

        On a circuit the first point stands at the end once more, a turn later.
        """
        columns = [*self.xy_m.T, *self.tangent.T, self.yaw_rad, self.curvature_1pm]
        if self.closed:
            turn = 2 * math.pi * round((self.yaw_rad[-1] - self.yaw_rad[0]) / (2 * math.pi))
            columns = [np.append(column, column[0]) for column in columns]
            columns[4][-1] += turn
        return tuple(tuple(column.tolist()) for column in columns)
