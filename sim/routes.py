"""Draws roads from seeds: straights and bends joined by clothoids, as open routes and as circuits.

The curvature is linear between knots, so that a wheel can follow it without a jump. Integrating it once gives
the heading, twice the position. In here positions are complex numbers, x + iy, at full size.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sim.road import STEP_M, Road
from sim.spec import LaneSpec

LEAD_M = 12.0  # of road before the start of an open route
RUN_UP_M = 6.0  # that an open route is straight at its start
TAIL_M = 40.0  # of road beyond its end, so that the camera does not see the road stop
TRANSITION_M = 8.0  # from one curvature to the next
STRAIGHT_M = 25.0  # is the longest straight of an open route, its transitions included
WIDEST = 5.0  # times the smallest radius
CHECK_M = 2.0  # between two places that are held against the rest of the road
MOST_FAILURES = 1000  # to lay a piece of an open road; of 2 km with bends of 14 m a few dozen are usual
MOST_CORNERS = 14  # of a circuit
BATCH, BATCHES = 64, 32  # polygons are drawn at once, so many times at most; one in fifty is a lap that bends both ways
ROOM = 1.3  # times the length of a lap of the tightest bends and no straights is the shortest lap


class RouteError(ValueError):
    """There is no such route."""

    exit_code = 2


class Line(NamedTuple):
    """Points along a centreline with their headings and curvatures, (n,) each."""

    xy_m: np.ndarray  # complex
    yaw_rad: np.ndarray
    curvature_1pm: np.ndarray


START = Line(np.zeros(1, complex), np.zeros(1), np.zeros(1))


class Bends(NamedTuple):
    """The corners of laps, (laps, n) each, in the order in which they are driven."""

    straight_m: np.ndarray  # before the bend's first clothoid
    arc_m: np.ndarray  # between its two clothoids
    curvature_1pm: np.ndarray  # of the arc


def make_road(
    seed: int,
    length_m: float = 250.0,
    topology: str = "open",
    lane: LaneSpec = LaneSpec(),  # noqa: B008 (frozen)
    unit_m: float = 1.0,
) -> Road:
    """Draw a road that never meets itself; the same seed gives the same road bit for bit.

    length_m and lane are as at full size; the road is `unit_m` times as large. topology: a name in ROUTES,
    KeyError for another. RouteError if a circuit's lap is too short for its bends, or an open road's bends leave it no
    way on.
    """
    closed = topology == "circuit"
    line = ROUTES[topology](np.random.default_rng(seed), length_m, lane)
    half_m = np.full(len(line.xy_m), lane.width_m / 2 * unit_m)
    return Road(
        seed=seed,
        length_m=length_m * unit_m,
        closed=closed,
        unit_m=unit_m,
        step_m=(length_m / len(line.xy_m) if closed else STEP_M) * unit_m,
        lead_m=0.0 if closed else LEAD_M * unit_m,
        xy_m=np.stack([np.real(line.xy_m), np.imag(line.xy_m)], axis=1) * unit_m,
        yaw_rad=line.yaw_rad,
        curvature_1pm=line.curvature_1pm / unit_m,
        left_m=half_m,
        right_m=half_m,
        lanes=lane.lanes,
    )


def _draw_open(rng: np.random.Generator, length_m: float, lane: LaneSpec) -> Line:
    """Grow a road bend by bend; where it would meet itself, the last bends are drawn anew."""
    points = math.ceil((LEAD_M + length_m + TAIL_M) / STEP_M) + 1
    pieces = [START, _extend(START, [0.0, LEAD_M + RUN_UP_M], [0.0, 0.0])]
    failures = most = total = 0
    while sum(len(piece.xy_m) for piece in pieces) < points:
        piece = _extend(pieces[-1], *_draw_bend(rng, pieces[-1].curvature_1pm[-1], lane))
        if _meets(pieces, piece, lane):
            failures, total = failures + 1, total + 1
            if total > MOST_FAILURES:
                raise RouteError(f"length_m is {length_m:g}; found no room for a road of such tight bends")
            del pieces[max(len(pieces) - failures // 3, 2) :]
        else:
            pieces.append(piece)
            failures, most = (0, len(pieces)) if len(pieces) > most else (failures, most)
    return Line(*(column[:points] for column in _joined(pieces)))


def _draw_bend(rng: np.random.Generator, curvature_1pm: float, lane: LaneSpec) -> tuple[list[float], list[float]]:
    """A bend and the straight after it, or none: the next bend then follows directly.

    Returns knots: distances from here, the last one a whole number of CHECK_M, and the curvatures there.
    """
    left = bool(rng.integers(2))
    radius = _tightest(lane, left) * WIDEST ** rng.uniform()
    held_m = radius * rng.uniform(math.radians(25), math.radians(80))
    straight_m = rng.uniform(0, STRAIGHT_M)
    bend = (1 if left else -1) / radius
    knots, curvatures = [0.0, TRANSITION_M, TRANSITION_M + held_m], [curvature_1pm, bend, bend]
    if straight_m > TRANSITION_M + STEP_M:
        knots += [knots[-1] + TRANSITION_M, knots[-1] + straight_m]
        curvatures += [0.0, 0.0]
    knots[-1] = math.ceil(knots[-1] / CHECK_M) * CHECK_M
    return knots, curvatures


def _tightest(lane: LaneSpec, left: bool) -> float:
    """The smallest radius of the car's lane: to the left the other lanes lie inside."""
    return lane.min_radius_m + (_middle(lane) if left else 0.0)


def _middle(lane: LaneSpec) -> float:
    """How far left of the car's lane the middle of the road lies."""
    return (lane.lanes - 1) * lane.width_m / 2


def _extend(line: Line, knots_m: list[float], curvatures_1pm: list[float]) -> Line:
    """Go on from the end of a line, by whole steps; the end itself is not repeated."""
    steps = round(knots_m[-1] / STEP_M)
    return _integrate(line, np.array(knots_m), np.array(curvatures_1pm), steps, STEP_M)


def _integrate(start: Line, knots_m: np.ndarray, curvatures_1pm: np.ndarray, steps: int, step_m: float) -> Line:
    """Walk on from a line's end along a curvature that is linear between knots.

    The heading is exact; the position is Simpson's rule over each step, exact to a micrometre.
    """
    along_m = np.arange(2 * steps + 1) * (step_m / 2)
    lengths, rises = np.diff(knots_m), np.diff(curvatures_1pm)
    turned = np.concatenate([[0.0], np.cumsum(lengths * (curvatures_1pm[1:] + curvatures_1pm[:-1]) / 2)])
    i = np.clip(np.searchsorted(knots_m, along_m, side="right") - 1, 0, len(lengths) - 1)
    beyond_m = along_m - knots_m[i]
    curvature = curvatures_1pm[i] + (rises / lengths)[i] * beyond_m
    yaw = start.yaw_rad[-1] + turned[i] + beyond_m * (curvatures_1pm[i] + curvature) / 2
    ahead = np.exp(1j * yaw)
    xy = start.xy_m[-1] + np.cumsum(ahead[:-2:2] + 4 * ahead[1::2] + ahead[2::2]) * (step_m / 6)
    return Line(xy, yaw[2::2], curvature[2::2])


def _meets(pieces: list[Line], new: Line, lane: LaneSpec) -> bool:
    """True when a new piece comes too close to a place of the road long before it."""
    old = _middle_line(_joined([_thinned(piece) for piece in pieces]), lane)
    ours = _middle_line(_thinned(new), lane)
    behind_m = (len(old) + np.arange(len(ours))[:, None] - np.arange(len(old))) * CHECK_M
    return bool((_near(ours[:, None], old, _clearance(lane)) & (behind_m > 2 * _clearance(lane) + CHECK_M)).any())


def _thinned(line: Line) -> Line:
    """Points CHECK_M apart."""
    return Line(*(column[:: round(CHECK_M / STEP_M)] for column in line))


def _joined(pieces: list[Line]) -> Line:
    return Line(*(np.concatenate(columns) for columns in zip(*pieces, strict=True)))


def _middle_line(line: Line, lane: LaneSpec) -> np.ndarray:
    return line.xy_m + 1j * _middle(lane) * np.exp(1j * line.yaw_rad)


def _clearance(lane: LaneSpec) -> float:
    """Between the middles of two roads: there is room for both and two lanes' width of verge."""
    return lane.width_m * (lane.lanes + 3)


def _near(ours: np.ndarray, others: np.ndarray, distance_m: float) -> np.ndarray:
    gap = ours - others
    return np.real(gap) ** 2 + np.imag(gap) ** 2 < distance_m**2


def _draw_circuit(rng: np.random.Generator, length_m: float, lane: LaneSpec) -> Line:
    """Round off the corners of random polygons until a lap fits, keeps clear of itself and bends both ways.

    Where there is no room for bends both ways, one way will do.
    """
    arcs_m, clothoids_m = 2 * np.pi * _tightest(lane, left=True), 5 * TRANSITION_M
    needed_m = ROOM * (max(arcs_m, clothoids_m) + clothoids_m)
    most_corners = length_m / (1.3 * lane.min_radius_m + 2 * TRANSITION_M)
    for batch in range(BATCHES if length_m >= needed_m else 0):
        bends = _round_off(rng, _draw_polygons(rng, most_corners), length_m, lane)
        both_ways = (bends.curvature_1pm > 0).any(axis=1) & (bends.curvature_1pm < 0).any(axis=1)
        for i in np.flatnonzero(both_ways | (batch >= BATCHES // 2)):
            line = _lap(Bends(*(column[i] for column in bends)), length_m)
            if not _laps_itself(line, lane):
                return line
    raise RouteError(f"length_m is {length_m:g}; expected at least {needed_m:.0f}: a lap has no room for its bends")


def _draw_polygons(rng: np.random.Generator, most: float) -> np.ndarray:
    """Corners around a centre, driven either way round, (BATCH, n) complex; n is at most about `most`."""
    most = min(max(int(most), 4), MOST_CORNERS)
    count = int(rng.integers(min(5, most), most, endpoint=True))
    shape, each = (BATCH, count), (BATCH, 1)
    angle = (np.arange(count) + rng.uniform(-0.3, 0.3, shape)) * (2 * np.pi / count)
    reach = 1 + rng.uniform(0.3, 0.9, each) * rng.uniform(-1, 1, shape)
    way_round = rng.choice([-1, 1], each)
    return reach * (np.cos(angle) + 1j * way_round * rng.uniform(0.5, 1, each) * np.sin(angle))


def _round_off(rng: np.random.Generator, corners: np.ndarray, length_m: float, lane: LaneSpec) -> Bends:
    """Put clothoid, arc and clothoid into each corner and scale the polygons so that a lap is `length_m`.

    corners: (k, n) complex. Returns the bends of the polygons that they fit into, fewer than k.
    """
    edges = np.roll(corners, -1, axis=1) - corners
    edge_m = np.abs(edges) * (length_m / np.abs(edges).sum(axis=1, keepdims=True))
    turn = np.angle(np.roll(edges, -1, axis=1) / edges)  # at the end of an edge
    sharp, tangent = np.abs(turn), np.tan(np.abs(turn) / 2)
    tightest = np.where(turn > 0, _tightest(lane, left=True), _tightest(lane, left=False))
    tightest = np.maximum(tightest, 1.05 * TRANSITION_M / sharp)  # so that an arc is left between the clothoids
    shared = (edge_m - TRANSITION_M) / (tangent + np.roll(tangent, 1, axis=1))  # radius of both bends of an edge
    widest = np.minimum(WIDEST * lane.min_radius_m, np.minimum(shared, np.roll(shared, -1, axis=1)))
    radius = tightest * np.maximum(widest / tightest, 1e-9) ** rng.uniform(size=turn.shape)
    tangent_m, arc_m = _tangent_length(radius, sharp), radius * sharp - TRANSITION_M
    saved_m = (2 * tangent_m - arc_m - 2 * TRANSITION_M).sum(axis=1, keepdims=True)  # by the bends' short cuts
    straight_m = edge_m * (1 + saved_m / length_m) - tangent_m - np.roll(tangent_m, 1, axis=1)
    fits = ((widest >= tightest) & (straight_m > 0)).all(axis=1)
    return Bends(straight_m[fits], arc_m[fits], (np.sign(turn) / radius)[fits])


def _lap(bends: Bends, length_m: float) -> Line:
    """Lay one lap, bends (n,), from the middle of its longest straight."""
    first = int(np.argmax(bends.straight_m))
    straight_m, arc_m, bend = (np.roll(column, -first) for column in bends)
    clothoid_m = np.full_like(arc_m, TRANSITION_M)
    lengths = np.stack([straight_m, clothoid_m, arc_m, clothoid_m], axis=1).ravel()
    lengths = np.concatenate([[straight_m[0] / 2], lengths[1:], [straight_m[0] / 2]])
    curvatures = np.stack([0 * bend, bend, bend, 0 * bend], axis=1).ravel()
    knots_m, steps = np.concatenate([[0.0], np.cumsum(lengths)]), round(length_m / STEP_M)
    line = _integrate(START, knots_m, np.concatenate([[0.0], curvatures, [0.0]]), steps, length_m / steps)
    xy = line.xy_m - line.xy_m[-1] * np.arange(1, steps + 1) / steps  # closes it to the last bit; micrometres
    return Line(*(np.concatenate([[0.0], column[:-1]]) for column in (xy, line.yaw_rad, line.curvature_1pm)))


def _tangent_length(radius_m: np.ndarray, turn_rad: np.ndarray) -> np.ndarray:
    """From a corner to where its bend begins; the clothoid's end is a series in its angle φ = ℓ/2r."""
    phi = TRANSITION_M / (2 * radius_m)
    x = TRANSITION_M * (1 - phi**2 / 10 + phi**4 / 216 - phi**6 / 9360)
    y = TRANSITION_M * (phi / 3 - phi**3 / 42 + phi**5 / 1320)
    shift = y - radius_m * (1 - np.cos(phi))
    return (radius_m + shift) * np.tan(turn_rad / 2) + x - radius_m * np.sin(phi)


def _laps_itself(line: Line, lane: LaneSpec) -> bool:
    """True when two places far apart along the lap come too close: it is held against itself, ever further on."""
    middle = _middle_line(_thinned(line), lane)
    further = sliding_window_view(np.concatenate([middle, middle]), len(middle))
    far = math.ceil(2 * _clearance(lane) / CHECK_M) + 1
    return bool(_near(further[far : len(middle) // 2 + 1], middle, _clearance(lane)).any())


ROUTES = {"open": _draw_open, "circuit": _draw_circuit}
