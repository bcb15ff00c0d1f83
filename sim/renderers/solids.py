"""Draws the things on the road into a finished picture: convex faces, the far ones first."""

import math
from collections.abc import Sequence
from itertools import accumulate, chain, compress
from operator import itemgetter

import cv2
import numpy as np

from sim.obstacles import Solid
from sim.optics import FAR_M
from sim.renderers.forms import Face, form_of
from sim.spec import CameraSpec

NEAR = 0.04  # of the camera's height: what is nearer along the optical axis is cut off
SUBPIXEL_BITS = 4  # cv2 draws with coordinates in sixteenths of a pixel
SMALL_PX, ZOOM = 8, 4  # what is thinner than that in the picture is drawn so many times larger and shrunk
BLOAT_PX = 0.55  # by which cv2's smooth polygons are too large on every side, their outline being drawn as a line


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
