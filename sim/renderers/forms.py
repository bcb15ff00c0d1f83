"""What things on the road look like from outside: convex faces with colours, shared by every renderer."""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np

from sim.obstacles import Colour

LIGHT = np.array([-0.08, 0.12, 0.26])  # in a solid's own axes: from above and a little from the left and behind
RAISED = 0.005  # of a face's size: how far what is painted on it lies before it, where a depth buffer sees it

GLASS, TYRE, HUB, SHADE = (46, 58, 72), (30, 30, 32), (150, 152, 156), (34, 35, 37)
PLATE, BAND = (240, 240, 230), (255, 255, 250)
RIGHT, FRONT, LEFT, REAR = range(4)  # walls of a block
LAMPS = {FRONT: (250, 248, 230), REAR: (200, 26, 30)}
TYRES = ((0.03, 0.15), (0.85, 0.97))  # seen from an end of a car, fractions of its width
CONE = ((0.06, 0.38), (0.4, 0.265), (0.72, 0.155), (1.0, 0.06))  # height and radius of its bands' edges
PANES = ((0.12, 0.5), (0.54, 0.86))  # of a side of a car, fractions of the way along it
ENDS = ((0.03, 0.18), (0.82, 0.97))  # of its rear or front: where the lamps are

Polygon = tuple[np.ndarray, Colour]  # corners (n, 3) in metres, counter-clockwise seen from outside
Face = tuple[int, int, Colour]  # (first corner, behind the last, colour)
Parts = tuple[list[Polygon], list[Polygon], float]  # the lower one, the upper one, and the height in m that parts them


@dataclass(frozen=True)
class Form:
    """A thing's outside in its own axes: x ahead and y left of its footprint's middle, z above the ground.

    Faces are in painter's order for an eye above `waist_m`, the height at which its upper part stands on the lower
    one; for a lower eye those from `upper` on come first.
    """

    corners: np.ndarray  # (n, 4) float64, homogeneous
    faces: tuple[Face, ...]
    planes: np.ndarray  # (faces, 4) float64: positive for a place before the face
    upper: int
    waist_m: float


@lru_cache(maxsize=256)
def form_of(kind: str, length_m: float, width_m: float, height_m: float, colour: Colour) -> Form:
    """Return the outside of a solid; a kind that FORMS does not have is a box."""
    lower, upper, waist_m = FORMS.get(kind, _box)(length_m, width_m, height_m, colour)
    corners, faces, planes = [], [], []
    for polygon, tint in lower + upper:
        normal = _normal(polygon)
        faces.append((len(corners), len(corners) + len(polygon), _shaded(tint, normal)))
        corners += [(*corner, 1.0) for corner in polygon.tolist()]
        planes.append((*normal, -normal @ polygon[0]))
    return Form(np.array(corners), tuple(faces), np.array(planes), len(lower), waist_m)


def _normal(polygon: np.ndarray) -> np.ndarray:
    """The unit vector out of a face (n, 3)."""
    (ax, ay, az), (bx, by, bz) = (polygon[1:3] - polygon[0]).tolist()
    x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    return np.array([x, y, z]) / math.hypot(x, y, z)


def _shaded(colour: Colour, normal: np.ndarray) -> Colour:
    """Lightest from above, darkest on the right."""
    light = float(normal @ LIGHT)
    red, green, blue = (round(min((0.72 + light) * channel, 255)) for channel in colour)
    return red, green, blue


def _rectangle(rear_m: float, front_m: float, half_m: float) -> np.ndarray:
    """Corners from the rear right one, counter-clockwise from above, (4, 2)."""
    return np.array([(rear_m, -half_m), (front_m, -half_m), (front_m, half_m), (rear_m, half_m)])


def _circle(radius_m: float) -> np.ndarray:
    """Eight points, counter-clockwise from above, (8, 2)."""
    angle = (np.arange(8) + 0.5) * math.pi / 4
    return radius_m * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _prism(low: np.ndarray, low_m: float, high: np.ndarray, high_m: float, colour: Colour) -> list[Polygon]:
    """Walls between two rings (n, 2) at two heights, and the lid; of rectangles: right, front, left, rear, lid."""
    foot = np.column_stack([low, np.full(len(low), low_m)])
    lid = np.column_stack([high, np.full(len(high), high_m)])
    walls = zip(foot, np.roll(foot, -1, axis=0), np.roll(lid, -1, axis=0), lid, strict=True)
    return [(np.stack(wall), colour) for wall in walls] + [(lid, colour)]


def _decal(face: Polygon, along: tuple[float, float], up: tuple[float, float], colour: Colour) -> Polygon:
    """A part of a four-cornered face: between two fractions of its way along and two of its way up."""
    low_start, low_end, high_end, high_start = face[0]
    places = [(along[0], up[0]), (along[1], up[0]), (along[1], up[1]), (along[0], up[1])]
    corners = np.stack(
        [(low_start * (1 - u) + low_end * u) * (1 - v) + (high_start * (1 - u) + high_end * u) * v for u, v in places]
    )
    return corners + RAISED * np.ptp(face[0], axis=0).max() * _normal(corners), colour


def _mixed(colour: Colour, other: Colour, part: float) -> Colour:
    """That part of the other colour, the rest of the first."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def _box(length_m: float, width_m: float, height_m: float, colour: Colour) -> Parts:
    """A box with a strip of tape along its lid."""
    foot = _rectangle(-length_m / 2, length_m / 2, width_m / 2)
    box = _prism(foot, 0.0, foot, height_m, colour)
    return [*box, _decal(box[-1], (0, 1), (0.42, 0.58), _mixed(colour, BAND, 0.4))], [], 0.0


def _cone(length_m: float, width_m: float, height_m: float, colour: Colour) -> Parts:
    """A traffic cone with a white band, on its square foot."""
    square = _rectangle(-length_m / 2, length_m / 2, width_m / 2)
    foot = _prism(square, 0.0, square, 0.06 * height_m, _mixed(colour, TYRE, 0.6))
    rings = [(_circle(radius * width_m), level * height_m) for level, radius in CONE]
    bands = zip(rings, rings[1:], (colour, BAND, colour), strict=False)
    walls = [wall for low, high, tint in bands for wall in _prism(*low, *high, tint)[:-1]]
    tip = _prism(*rings[0], *rings[-1], colour)[-1]
    return foot, [*walls, tip], 0.06 * height_m


def _car(length_m: float, width_m: float, height_m: float, colour: Colour) -> Parts:
    """A car: wheels and body up to its waist, above it a cabin with windows."""
    length, half, waist_m = length_m, width_m / 2, 0.56 * height_m
    outline = _rectangle(-length / 2, length / 2, half)
    shade = np.array([(*corner, 0.01 * height_m) for corner in outline])
    shoulders = _rectangle(-0.49 * length, 0.46 * length, 0.94 * half)
    sill = _rectangle(-0.46 * length, 0.22 * length, 0.9 * half)
    roof = _rectangle(-0.36 * length, 0.04 * length, 0.74 * half)
    skirt = _prism(outline, 0.0, outline, 0.14 * height_m, TYRE)
    body = _prism(outline, 0.13 * height_m, shoulders, waist_m, colour)
    cabin = _prism(sill, waist_m, roof, height_m, colour)
    tyres = [_decal(skirt[end], part, (0, 1), TYRE) for end in (FRONT, REAR) for part in TYRES]
    lamps = [_decal(body[end], part, (0.55, 0.85), LAMPS[end]) for end in LAMPS for part in ENDS]
    plate, grille = (
        _decal(body[REAR], (0.36, 0.64), (0.25, 0.5), PLATE),
        _decal(body[FRONT], (0.25, 0.75), (0.2, 0.45), TYRE),
    )
    wheels = [_wheel(x * length, y * half, 0.21 * height_m) for x in (-0.31, 0.31) for y in (-1, 1)]
    windows = [_decal(cabin[side], part, (0.12, 0.82), GLASS) for side in (RIGHT, LEFT) for part in PANES]
    screens = [_decal(cabin[end], (0.07, 0.93), (0.1, 0.86), GLASS) for end in (FRONT, REAR)]
    lower = [(shade, SHADE), *tyres, *body, *lamps, plate, grille, *chain(*wheels)]
    return lower, [*cabin, *windows, *screens], waist_m


def _wheel(x_m: float, y_m: float, radius_m: float) -> list[Polygon]:
    """A tyre and its hub, discs of eight corners on a car's side."""
    across, up = (_circle(radius_m) * (math.copysign(1, -y_m), 1)).T
    tyre = np.stack([x_m + across, np.full(8, 1.005 * y_m), radius_m + up], axis=1)
    middle = np.array([x_m, 1.005 * y_m, radius_m])
    return [(tyre, TYRE), (middle + 0.55 * (tyre - middle) + (0, 0.01 * y_m, 0), HUB)]


FORMS = {"cone": _cone, "parked car": _car, "lead vehicle": _car}
