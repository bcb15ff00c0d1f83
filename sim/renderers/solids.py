"""Draws the things on the road into a finished picture: convex faces, the far ones first."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, compress
from operator import itemgetter
from typing import Any

import cv2
import numpy as np
import pybullet

from sim.obstacles import Bodies, Colour, Solid
from sim.spec import CameraSpec

FAR_M = 60.0  # depth beyond which nothing is drawn
NEAR = 0.04  # of the camera's height: what is nearer along the optical axis is cut off
SUBPIXEL_BITS = 4  # cv2 draws with coordinates in sixteenths of a pixel
SMALL_PX, ZOOM = 8, 4  # what is thinner than that in the picture is drawn so many times larger and shrunk
BLOAT_PX = 0.55  # by which cv2's smooth polygons are too large on every side, their outline being drawn as a line

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


def draw_solids(
    image: np.ndarray,
    camera: CameraSpec,
    pose: tuple[float, float, float],
    solids: Sequence[Solid],
    far_m: float = FAR_M,
) -> None:
    """Draw the solids as the camera of a car at pose (x_m, y_m, yaw_rad) sees them into its picture.

    image: (h, w, 3) uint8 RGB. Those further ahead than far_m are left out.
    """
    x, y, yaw = pose
    eye_x, eye_y = x + camera.x_m * math.cos(yaw), y + camera.x_m * math.sin(yaw)
    gaze = yaw + camera.yaw_rad
    cos, sin = math.cos(gaze), math.sin(gaze)
    # Out of sight is a circle whose middle lies further than its radius beyond the picture's edge on the ground.
    slope = camera.width_px / 2 / camera.focal_px
    slant = math.hypot(slope, 1.0)
    seen = []
    for solid in solids:
        dx, dy = solid.x_m - eye_x, solid.y_m - eye_y
        ahead, left = dx * cos + dy * sin, dy * cos - dx * sin
        radius = math.hypot(solid.length_m, solid.width_m) / 2
        if -radius < ahead < far_m and abs(left) < (ahead + camera.height_m) * slope + radius * slant:
            # The line on which two circles have the same power parts them: the eye's side of it is in front.
            seen.append((radius * radius - dx * dx - dy * dy, solid))
    for solid in _far_to_near(seen, eye_x, eye_y):
        _draw(image, camera, (eye_x, eye_y, gaze), solid)


def _far_to_near(seen: list[tuple[float, Solid]], eye_x: float, eye_y: float) -> list[Solid]:
    """Sort solids, each with its circle's negative power; as circles may overlap, neighbours are looked at closely."""
    seen.sort(key=itemgetter(0))
    solids = [solid for _, solid in seen]
    for i in range(len(solids) - 1):
        if _is_before(solids[i], solids[i + 1], eye_x, eye_y):
            solids[i : i + 2] = solids[i + 1], solids[i]
    return solids


def _is_before(one: Solid, other: Solid, eye_x: float, eye_y: float) -> bool:
    """True when a side of either footprint parts the two and the eye is on one's side of it."""
    for box, beyond in ((one, other), (other, one)):
        cos, sin = math.cos(box.yaw_rad), math.sin(box.yaw_rad)
        for ux, uy, half in ((cos, sin, box.length_m / 2), (-sin, cos, box.width_m / 2)):
            away = (beyond.x_m - box.x_m) * ux + (beyond.y_m - box.y_m) * uy
            slant = math.cos(beyond.yaw_rad) * ux + math.sin(beyond.yaw_rad) * uy
            reach = (abs(slant) * beyond.length_m + math.sqrt(max(1 - slant * slant, 0.0)) * beyond.width_m) / 2
            if abs(away) - reach >= half:
                eye = math.copysign(1.0, away) * ((eye_x - box.x_m) * ux + (eye_y - box.y_m) * uy)
                return (eye < half) == (box is one)
    return False


def _draw(image: np.ndarray, camera: CameraSpec, eye: tuple[float, float, float], solid: Solid) -> None:
    """Draw those faces that the eye at (x_m, y_m), gazing along yaw_rad, stands before."""
    form = form_of(solid.kind, solid.length_m, solid.width_m, solid.height_m, solid.colour)
    small = camera.focal_px * min(solid[4:7]) < SMALL_PX * math.dist(eye[:2], solid[1:3])
    matrix, (eye_x, eye_y) = _optical_from_local(camera, eye, solid, BLOAT_PX / (ZOOM if small else 1))
    shown = (form.planes @ (eye_x, eye_y, camera.height_m, 1.0) > 0).tolist()
    faces = list(compress(form.faces, shown))
    if camera.height_m < form.waist_m:
        upper = sum(shown[: form.upper])
        faces = faces[upper:] + faces[:upper]
    points = form.corners @ matrix
    near_m = NEAR * camera.height_m
    if points[:, 2].min() < near_m:
        _draw_cut(image, camera, points, faces, near_m)
    elif small:
        _draw_small(image, _to_pixels(points, camera), faces)
    else:
        _fill(image, _fixed_point(_to_pixels(points, camera)), faces)


def _fill(image: np.ndarray, outlines: np.ndarray, faces: list[Face]) -> None:
    for first, last, colour in faces:
        cv2.fillConvexPoly(image, outlines[first:last], colour, cv2.LINE_AA, SUBPIXEL_BITS)


def _draw_cut(image: np.ndarray, camera: CameraSpec, points: np.ndarray, faces: list[Face], near_m: float) -> None:
    """Draw what of each face is before the eye."""
    corners = points.tolist()
    polygons = [(_clip(corners[first:last], near_m), colour) for first, last, colour in faces]
    kept = [(polygon, colour) for polygon, colour in polygons if polygon]
    if kept:
        ends = list(accumulate(len(polygon) for polygon, _ in kept))
        outlines = _fixed_point(_to_pixels(np.array([*chain.from_iterable(p for p, _ in kept)]), camera))
        _fill(image, outlines, [(end - len(p), end, colour) for end, (p, colour) in zip(ends, kept, strict=True)])


def _draw_small(image: np.ndarray, pixels: np.ndarray, faces: list[Face]) -> None:
    """Draw faces into a patch of the picture, enlarged, so that what is thinner than a pixel has its right share."""
    (left, top), (right, bottom) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
    left, top = max(math.floor(left), 0), max(math.floor(top), 0)
    patch = image[top : max(math.ceil(bottom), 0), left : max(math.ceil(right), 0)]
    if patch.size:
        canvas = cv2.resize(patch, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)
        _fill(canvas, _fixed_point((pixels - (left, top)) * ZOOM), faces)
        patch[:] = cv2.resize(canvas, patch.shape[1::-1], interpolation=cv2.INTER_AREA)


def _optical_from_local(
    camera: CameraSpec, eye: tuple[float, float, float], solid: Solid, bloat_px: float
) -> tuple[np.ndarray, tuple[float, float]]:
    """The (4, 3) matrix from a solid's axes to (right, down, forward) of the eye, and the eye's place in those axes.

    It also draws the solid in, towards its middle, by as much as cv2 draws it too large.
    """
    eye_x, eye_y, gaze = eye
    dx, dy = eye_x - solid.x_m, eye_y - solid.y_m
    cos, sin = math.cos(solid.yaw_rad), math.sin(solid.yaw_rad)
    local_x, local_y = dx * cos + dy * sin, dy * cos - dx * sin
    cos, sin = math.cos(solid.yaw_rad - gaze), math.sin(solid.yaw_rad - gaze)
    level, nose_down = math.cos(camera.pitch_rad), math.sin(camera.pitch_rad)
    ahead, left = -local_x * cos + local_y * sin, -local_x * sin - local_y * cos
    middle = solid.height_m / 2
    bloat_m = bloat_px * max(ahead * level + (camera.height_m - middle) * nose_down, 0.0) / camera.focal_px
    a, b, c = (max(1 - 2 * bloat_m / size, 0.05) for size in (solid.length_m, solid.width_m, solid.height_m))
    fall = camera.height_m - (1 - c) * middle
    matrix = [
        (-sin * a, -cos * nose_down * a, cos * level * a),
        (-cos * b, sin * nose_down * b, -sin * level * b),
        (0.0, -level * c, -nose_down * c),
        (-left, fall * level - ahead * nose_down, ahead * level + fall * nose_down),
    ]
    return np.array(matrix), (local_x, local_y)


def _to_pixels(points: np.ndarray, camera: CameraSpec) -> np.ndarray:
    """(right, down, forward) (n, 3) to (column, row), where 0.5 is a pixel's middle, (n, 2)."""
    middle = (camera.width_px / 2, camera.height_px / 2)
    return points[:, :2] * (camera.focal_px / points[:, 2:]) + middle


def _fixed_point(pixels: np.ndarray) -> np.ndarray:
    """(column, row) (n, 2) to cv2's, where a pixel's middle is whole, in sixteenths, int32."""
    return np.rint((pixels - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)


def _clip(polygon: list[list[float]], near_m: float) -> list[list[float]]:
    """What of a polygon's corners (right, down, forward) is that far ahead (Sutherland and Hodgman 1974)."""
    kept = []
    for start, end in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if start[2] >= near_m:
            kept.append(start)
        if (start[2] < near_m) != (end[2] < near_m):
            part = (near_m - start[2]) / (end[2] - start[2])
            kept.append([a + part * (b - a) for a, b in zip(start, end, strict=True)])
    return kept


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


class BulletSolids:
    """The same things for PyBullet's own renderers: bodies that are seen but not touched."""

    def __init__(self, client: int) -> None:
        self._bodies = Bodies(client, _make_visual)

    def show(self, solids: Sequence[Solid]) -> None:
        """Show these solids, and no others."""
        bodies = self._bodies.lend([(s.kind, s.length_m, s.width_m, s.height_m, s.colour) for s in solids])
        for body, solid in zip(bodies, solids, strict=True):
            self._bodies.move(body, solid)


def _make_visual(client: int, *outside: Any) -> int:
    """A body with a link for each colour, as a mesh has but one."""
    form = form_of(*outside)
    painted: defaultdict[Colour, list[np.ndarray]] = defaultdict(list)
    for first, last, colour in form.faces:
        fan = [(first, i, i + 1) for i in range(first + 1, last - 1)]
        painted[colour].append(form.corners[np.array(fan).ravel(), :3])
    links = [_mesh(client, np.concatenate(faces), colour) for colour, faces in painted.items()]
    nowhere, unturned = [[0, 0, 0]] * len(links), [[0, 0, 0, 1]] * len(links)
    return pybullet.createMultiBody(
        baseMass=0,
        linkMasses=[0] * len(links),
        linkCollisionShapeIndices=[-1] * len(links),
        linkVisualShapeIndices=links,
        linkPositions=nowhere,
        linkOrientations=unturned,
        linkInertialFramePositions=nowhere,
        linkInertialFrameOrientations=unturned,
        linkParentIndices=[0] * len(links),
        linkJointTypes=[pybullet.JOINT_FIXED] * len(links),
        linkJointAxis=[[0, 0, 1]] * len(links),
        physicsClientId=client,
    )


def _mesh(client: int, corners: np.ndarray, colour: Colour) -> int:
    """A visual shape of triangles, three corners (3n, 3) each."""
    return pybullet.createVisualShape(
        pybullet.GEOM_MESH,
        vertices=corners.tolist(),
        indices=list(range(len(corners))),
        uvs=[[0, 0]] * len(corners),
        normals=[[0, 0, 1]] * len(corners),
        rgbaColor=[channel / 255 for channel in colour] + [1],
        physicsClientId=client,
    )
