"""The picture for people: the car seen from behind, beside what its camera sees and a map of the route."""

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from sim.obstacles import Solid
from sim.renderers.planar import PlanarRenderer
from sim.road import Road
from sim.spec import CameraSpec, VehicleSpec
from sim.surface import Surface

CAMERA = CameraSpec(
    width_px=512, height_px=384, fov_rad=math.radians(65), x_m=-5.5, height_m=2.6, pitch_rad=math.radians(14)
)  # at full size
INSET_PX = CAMERA.height_px // 2
BODY, BODY_TOP, GLASS, TYRE, LAMP = (186, 42, 42), (214, 62, 58), (38, 48, 60), (24, 24, 26), (255, 120, 100)
PAVED, ROUTE, HERE = (110, 110, 114), (245, 200, 66), (224, 40, 40)


class ChaseView:
    """Composes the chase view, the camera image and the map; (384, 704, 3) uint8 RGB."""

    def __init__(self, surface: Surface, vehicle: VehicleSpec) -> None:
        unit = surface.road.unit_m
        self._renderer = PlanarRenderer(
            surface, replace(CAMERA, x_m=CAMERA.x_m * unit, height_m=CAMERA.height_m * unit)
        )
        self._car, self._mask = _draw_car(vehicle)
        self._map = _Map(surface)

    def render(
        self, pose: tuple[float, float, float], camera_image: np.ndarray, solids: Sequence[Solid] = ()
    ) -> np.ndarray:
        """Compose the picture for pose (x_m, y_m, yaw_rad) and the camera's own image (h, w, 3) uint8."""
        chase = self._renderer.render(pose, solids)
        cv2.copyTo(self._car, self._mask, chase)
        height, width = camera_image.shape[:2]
        scale = INSET_PX / max(height, width)
        inset = np.zeros((INSET_PX, INSET_PX, 3), np.uint8)
        shown = cv2.resize(camera_image, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        top, left = (INSET_PX - shown.shape[0]) // 2, (INSET_PX - shown.shape[1]) // 2
        inset[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
        return np.hstack([chase, np.vstack([inset, self._map.render(pose)])])


class _Map:
    """The road from above, north up, and where the car is on it."""

    def __init__(self, surface: Surface) -> None:
        road = surface.road
        low, high = road.xy_m.min(axis=0), road.xy_m.max(axis=0)
        self._middle_m = (low + high) / 2
        self._px_per_m = 0.9 * INSET_PX / max(*(high - low), 1e-9)
        self._plan = np.full((INSET_PX, INSET_PX, 3), surface.strip.beyond, np.uint8)
        right, left = (self._to_pixels(road.offset_line(edge)) for edge in road.pavement)
        for start in range(0, len(right), 8):
            stretch = slice(start, start + 10)
            outline = np.concatenate([left[stretch], right[stretch][::-1]])
            cv2.fillPoly(self._plan, [outline], PAVED, cv2.LINE_AA)
        cv2.polylines(self._plan, [self._to_pixels(_route(road))], road.closed, ROUTE, 2, cv2.LINE_AA)

    def render(self, pose: tuple[float, float, float]) -> np.ndarray:
        plan = self._plan.copy()
        column, row = self._to_pixels(np.array([pose[:2]]))[0, 0].tolist()
        cv2.circle(plan, (column, row), 5, HERE, -1, cv2.LINE_AA)
        return plan

    def _to_pixels(self, xy_m: np.ndarray) -> np.ndarray:
        """World metres (n, 2) to pixels as cv2 draws them, (n, 1, 2) int32."""
        east, north = ((xy_m - self._middle_m) * self._px_per_m).T
        return np.round(INSET_PX / 2 + np.stack([east, -north], axis=1)).astype(np.int32)[:, None]


def _route(road: Road) -> np.ndarray:
    """The centreline from start to end of the route, (n, 2) metres."""
    return road.xy_m if road.closed else road.xy_m[road.index(0.0) : road.index(road.length_m) + 1]


def _project(points: np.ndarray) -> np.ndarray:
    """Points (n, 3) in the car's frame, at full size, to the chase camera's pixels, (n, 2) int32."""
    x, y, z = (np.asarray(points, float) - (CAMERA.x_m, 0, CAMERA.height_m)).T
    cos, sin = math.cos(CAMERA.pitch_rad), math.sin(CAMERA.pitch_rad)
    depth, down = x * cos - z * sin, -x * sin - z * cos
    u = CAMERA.width_px / 2 - CAMERA.focal_px * y / depth
    v = CAMERA.height_px / 2 + CAMERA.focal_px * down / depth
    return np.round(np.stack([u, v], axis=1)).astype(np.int32)


def _draw_car(vehicle: VehicleSpec) -> tuple[np.ndarray, np.ndarray]:
    """The car never moves before the chase camera: one picture and its mask serve every frame."""
    image = np.zeros((CAMERA.height_px, CAMERA.width_px, 3), np.uint8)
    mask = np.zeros(image.shape[:2], np.uint8)

    def face(corners: list, colour: tuple) -> None:
        outline = _project(np.array(corners))
        cv2.fillConvexPoly(image, outline, colour, cv2.LINE_AA)
        cv2.fillConvexPoly(mask, outline, 255)

    def box(x0: float, x1: float, half: float, z0: float, z1: float, back: tuple, top: tuple) -> None:
        face([(x0, half, z1), (x1, half, z1), (x1, -half, z1), (x0, -half, z1)], top)
        face([(x0, half, z0), (x0, half, z1), (x0, -half, z1), (x0, -half, z0)], back)

    front, half, height = (
        size / vehicle.scale for size in (vehicle.length_m / 2, vehicle.width_m / 2, vehicle.height_m)
    )
    rear = -front
    for side in (-1, 1):
        y = side * vehicle.track_m / 2 / vehicle.scale
        face([(rear, y - 0.12, 0), (rear, y + 0.12, 0), (rear, y + 0.12, 0.5), (rear, y - 0.12, 0.5)], TYRE)
    box(rear, front, half, 0.22, 0.62 * height, BODY, BODY_TOP)
    box(rear + 0.1, front - 0.7, half * 0.82, 0.62 * height, height, GLASS, BODY_TOP)
    for side in (-1, 1):
        y = side * half * 0.78
        face([(rear, y - 0.1, 0.5), (rear, y + 0.1, 0.5), (rear, y + 0.1, 0.62), (rear, y - 0.1, 0.62)], LAMP)
    return image, mask
