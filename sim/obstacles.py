"""Things on the road: boxes and cones at the lane's edges, parked cars on its right, vehicles that drive ahead."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import pybullet

from sim.car import OBSTACLE_GROUP
from sim.road import Road

GAP_M = 12.0  # at least, along the road, from one to the next, at full size as all here
FREE_START_M = 15.0  # of the route
PER_ROUTE_M = 250.0  # of the route there are as many of a kind as asked for
MARGIN_M = 0.5  # beside the car, at least, where it passes within its lane
HEADWAY_M = 30.0  # of road for each vehicle that starts ahead of the car

Colour = tuple[int, int, int]


class Solid(NamedTuple):
    """A thing at a moment; its pose is the middle of its footprint, which is length_m along yaw_rad by width_m."""

    kind: str
    x_m: float
    y_m: float
    yaw_rad: float
    length_m: float
    width_m: float
    height_m: float
    colour: Colour  # RGB


@dataclass(frozen=True)
class Obstacle:
    """A thing on a road: it stands at a distance along the route, or starts there and drives at a constant speed."""

    kind: str  # of KINDS
    length_m: float
    width_m: float
    height_m: float
    colour: Colour  # RGB
    distance_m: float
    lateral_offset_m: float
    heading_error_rad: float
    speed_mps: float = 0.0

    def at(self, road: Road, distance_m: float) -> Solid:
        """Return it as it stands at that distance along the road."""
        x, y, yaw = road.pose(distance_m, self.lateral_offset_m)
        yaw += self.heading_error_rad
        return Solid(self.kind, x, y, yaw, self.length_m, self.width_m, self.height_m, self.colour)


@dataclass(frozen=True)
class Kind:
    """Measures at full size. There are only so many sizes, so that PyBullet's bodies serve again."""

    sizes_m: tuple[tuple[float, float, float], ...]  # (length, width, height)
    colours: tuple[Colour, ...]
    sides: tuple[int, ...]  # of the lane at whose edge it stands: 1 left, -1 right, 0 it drives in the middle
    intrusion_m: tuple[float, float] = (0.0, 0.0)  # over the lane's edge; negative stands outside
    askew_rad: float = 0.0  # either way


MIDDLE = (0,)
CARS = ((2.7, 1.66, 1.55), (4.0, 1.76, 1.48), (4.5, 1.82, 1.45))  # a two-seater, a hatchback, a saloon
PAINTS = ((196, 30, 34), (40, 74, 140), (212, 214, 216), (92, 96, 102), (34, 36, 40), (226, 186, 60), (58, 104, 74))
CARDBOARD = ((178, 134, 86), (150, 112, 72), (60, 96, 150), (128, 130, 132))

KINDS = {
    "box": Kind(((0.5, 0.4, 0.4), (0.8, 0.6, 0.5), (0.8, 0.8, 0.8)), CARDBOARD, (1, -1), (-0.3, 0.4), math.pi / 2),
    "cone": Kind(((0.36, 0.36, 0.5), (0.42, 0.42, 0.75)), ((255, 96, 24), (236, 62, 28)), (1, -1), (-0.3, 0.4), 0.5),
    "parked car": Kind(CARS, PAINTS, (-1,), (-0.8, 0.15), 0.05),
    "lead vehicle": Kind(CARS, PAINTS, MIDDLE),
}


def draw_obstacles(
    road: Road, kinds: Mapping[str, int], vehicle_width_m: float, lead_speed_mps: float, rng: np.random.Generator
) -> tuple[Obstacle, ...]:
    """Draw things for a road, so many of each kind per 250 m of the route, as far as there is room for them.

    What stands leaves the car, or the vehicle ahead if that is wider, a way within its lane with a quarter of a metre
    either side. Vehicles ahead start before all that stands and share one speed: they never meet each other.
    KeyError for a kind that KINDS does not have.
    """
    unit = road.unit_m
    routes = road.length_m / PER_ROUTE_M / unit
    names = [name for name, count in kinds.items() for _ in range(round(count * routes))]
    driving = [name for name in names if KINDS[name].sides == MIDDLE]
    standing = [name for name in names if KINDS[name].sides != MIDDLE]
    first_m, gap_m = FREE_START_M * unit, GAP_M * unit
    front_m = first_m + HEADWAY_M * unit * len(driving)
    ahead = _spread(len(driving), first_m, min(front_m, road.length_m), gap_m, rng)
    along = _spread(len(standing), front_m + gap_m if driving else first_m, road.length_m, gap_m, rng)
    leads = [_draw_lead(name, at_m, road, lead_speed_mps, rng) for name, at_m in zip(driving, ahead, strict=False)]
    mixed = rng.permutation(standing).tolist()
    widest_m = max([vehicle_width_m, *(lead.width_m for lead in leads)])
    others = [_draw_standing(name, at_m, road, widest_m, rng) for name, at_m in zip(mixed, along, strict=False)]
    return (*leads, *others)


def _spread(count: int, first_m: float, last_m: float, gap_m: float, rng: np.random.Generator) -> list[float]:
    """Distances between two, a gap or more apart: `count` of them, or as many as there is room for."""
    if last_m < first_m:
        return []
    count = min(count, math.floor((last_m - first_m) / gap_m) + 1)
    spare_m = last_m - first_m - (count - 1) * gap_m
    return (first_m + np.sort(rng.uniform(0, spare_m, count)) + gap_m * np.arange(count)).tolist()


def _draw_body(kind: Kind, unit_m: float, rng: np.random.Generator) -> tuple[float, float, float, Colour]:
    """Choose (length_m, width_m, height_m, colour)."""
    length, width, height = kind.sizes_m[rng.integers(len(kind.sizes_m))]
    return length * unit_m, width * unit_m, height * unit_m, kind.colours[rng.integers(len(kind.colours))]


def _draw_lead(name: str, distance_m: float, road: Road, speed_mps: float, rng: np.random.Generator) -> Obstacle:
    return Obstacle(name, *_draw_body(KINDS[name], road.unit_m, rng), distance_m, 0.0, 0.0, speed_mps)


def _draw_standing(
    name: str, distance_m: float, road: Road, vehicle_width_m: float, rng: np.random.Generator
) -> Obstacle:
    """Choose a side, and how far over the edge of the lane it stands there, at most so that the car can pass."""
    kind, unit, i = KINDS[name], road.unit_m, road.index(distance_m)
    length, width, height, colour = _draw_body(kind, unit, rng)
    askew = rng.uniform(-kind.askew_rad, kind.askew_rad)
    side = kind.sides[rng.integers(len(kind.sides))]
    left, right = float(road.left_m[i]), float(road.right_m[i])
    room_m = left + right - vehicle_width_m - MARGIN_M * unit
    intrusion_m = min(rng.uniform(*kind.intrusion_m) * unit, room_m)
    sin, cos = abs(math.sin(askew)), abs(math.cos(askew))
    half_along, half_across = (length * cos + width * sin) / 2, (length * sin + width * cos) / 2
    # Where the lane bends round it its ends reach further in, by κs²/2; twice that, as the inner edge bends tighter.
    bulge_m = max(side * road.curvature_at(distance_m), 0.0) * half_along**2
    offset_m = side * ((left if side > 0 else right) - intrusion_m + half_across + bulge_m)
    return Obstacle(name, length, width, height, colour, distance_m, offset_m, askew)


class Bodies:
    """Bodies of one PyBullet client that serve again.

    PyBullet never gives back all the memory of a removed body (0.8 to 3.4 kB each), so those out of use wait far
    below the road. make(client, *form) makes one.
    """

    def __init__(self, client: int, make: Callable[..., int]) -> None:
        self._client, self._make = client, make
        self._of_form: defaultdict[tuple, list[int]] = defaultdict(list)

    def lend(self, forms: Sequence[tuple]) -> list[int]:
        """Return a body for each of the forms; all others wait."""
        idle = {form: [*bodies] for form, bodies in self._of_form.items()}
        lent = [idle[form].pop(0) if idle.get(form) else self._new(form) for form in forms]
        for body in chain.from_iterable(idle.values()):
            self.hide(body)
        return lent

    def _new(self, form: tuple) -> int:
        self._of_form[form].append(self._make(self._client, *form))
        return self._of_form[form][-1]

    def move(self, body: int, solid: Solid) -> None:
        """Put the body where the solid is."""
        turn = [0.0, 0.0, math.sin(solid.yaw_rad / 2), math.cos(solid.yaw_rad / 2)]
        pybullet.resetBasePositionAndOrientation(body, [solid.x_m, solid.y_m, 0.0], turn, self._client)

    def hide(self, body: int) -> None:
        """Put the body out of sight and reach."""
        pybullet.resetBasePositionAndOrientation(body, [0.0, 0.0, -1000.0], [0.0, 0.0, 0.0, 1.0], self._client)


class Traffic:
    """The obstacles of one road after another, in PyBullet's collision world."""

    def __init__(self, client: int) -> None:
        self._client = client
        self._bodies = Bodies(client, _make_body)
        self._touchable: set[int] = set()
        self._leads: list[tuple[Obstacle, int]] = []
        self._standing: list[Solid] = []
        self._driving: list[Solid] = []

    def lay(self, road: Road, obstacles: Sequence[Obstacle]) -> None:
        """Exchange all obstacles for these; those that drive are where they start."""
        self._road = road
        bodies = self._bodies.lend([(o.kind == "cone", o.length_m, o.width_m, o.height_m) for o in obstacles])
        placed = list(zip(obstacles, bodies, strict=True))
        self._touchable = set(bodies)
        self._leads = [(obstacle, body) for obstacle, body in placed if obstacle.speed_mps]
        self._standing = []
        for obstacle, body in placed:
            if not obstacle.speed_mps:
                self._standing.append(obstacle.at(road, obstacle.distance_m))
                self._bodies.move(body, self._standing[-1])
        self.reset()

    def reset(self, start_m: float = 0.0) -> None:
        """Put those that drive where they start, as far ahead of a car that starts there along the route."""
        self._start_m, self._time_s = start_m, 0.0
        self._drive()

    def advance(self, duration_s: float) -> None:
        """Drive on by that time; past the end of an open road a vehicle is gone."""
        self._time_s += duration_s
        self._drive()

    def _drive(self) -> None:
        road = self._road
        end_m = math.inf if road.closed else (len(road.xy_m) - 1) * road.step_m - road.lead_m
        self._driving = []
        for obstacle, body in self._leads:
            distance_m = self._start_m + obstacle.distance_m + obstacle.speed_mps * self._time_s
            if distance_m > end_m:
                self._bodies.hide(body)
            else:
                self._driving.append(obstacle.at(road, distance_m))
                self._bodies.move(body, self._driving[-1])

    def solids(self) -> list[Solid]:
        """Everything where it is now."""
        return self._standing + self._driving

    def touching(self, car: int) -> bool:
        """True when the body `car` touched one of them in PyBullet's last step."""
        if not self._touchable:
            return False
        contacts = pybullet.getContactPoints(car, physicsClientId=self._client)
        return any(contact[2] in self._touchable for contact in contacts)


def _make_body(client: int, pointed: bool, length_m: float, width_m: float, height_m: float) -> int:
    """A box or, pointed, a pyramid, with its foot's middle at the body's place; the car collides with it."""
    x, y = length_m / 2, width_m / 2
    if pointed:
        corners = [[x, y, 0], [-x, y, 0], [-x, -y, 0], [x, -y, 0], [0, 0, height_m]]
        shape = pybullet.createCollisionShape(pybullet.GEOM_MESH, vertices=corners, physicsClientId=client)
    else:
        shape = pybullet.createCollisionShape(
            pybullet.GEOM_BOX,
            halfExtents=[x, y, height_m / 2],
            collisionFramePosition=[0, 0, height_m / 2],
            physicsClientId=client,
        )
    body = pybullet.createMultiBody(0, shape, physicsClientId=client)
    # One of two masks suffices PyBullet: without its own it meets the chassis, which asks for it, and no wheels.
    pybullet.setCollisionFilterGroupMask(body, -1, OBSTACLE_GROUP, 0, client)
    return body
