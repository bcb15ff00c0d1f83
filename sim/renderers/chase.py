"""The picture for people: the car seen from behind, beside what its camera sees and a map of the route."""

import math

import cv2
import numpy as np

from sim.renderers.planar import PlanarRenderer
from sim.road import Road
from sim.spec import CameraSpec, VehicleSpec
from sim.surface import Surface

CAMERA = CameraSpec(
    width_px=512, height_px=384, fov_rad=math.radians(65), x_m=-5.5, height_m=2.6, pitch_rad=math.radians(14)
)
INSET_PX = CAMERA.height_px // 2
BODY, BODY_TOP, GLASS, TYRE, LAMP = (186, 42, 42), (214, 62, 58), (38, 48, 60), (24, 24, 26), (255, 120, 100)
ROUTE, HERE = (245, 200, 66), (224, 40, 40)


class ChaseView:
    """Composes the chase view, the camera image and the map; (384, 704, 3) uint8 RGB."""

    def __init__(self, surface: Surface, road: Road, vehicle: VehicleSpec) -> None:
        self._renderer = PlanarRenderer(surface, CAMERA)
        self._car, self._mask = _draw_car(vehicle)
        self._surface = surface
        self._map, self._scale = _draw_map(surface, road)

    def render(self, pose: tuple[float, float, float], camera_image: np.ndarray) -> np.ndarray:
        """Compose the picture for pose (x_m, y_m, yaw_rad) and the camera's own image (h, w, 3) uint8."""
        chase = self._renderer.render(pose)
        cv2.copyTo(self._car, self._mask, chase)
        inset = cv2.resize(camera_image, (INSET_PX, INSET_PX), interpolation=cv2.INTER_NEAREST)
        plan = self._map.copy()
        column, row = (self._surface.to_pixels(pose[:2]) * self._scale).astype(int)
        cv2.circle(plan, (column, row), 5, HERE, -1, cv2.LINE_AA)
        return np.hstack([chase, np.vstack([inset, _upright(plan)])])


def _project(points: np.ndarray) -> np.ndarray:
    """Points (n, 3) in the car's frame to the chase camera's pixels, (n, 2) int32."""
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

    front, half, height = vehicle.length_m / 2, vehicle.width_m / 2, vehicle.height_m
    rear = -front
    for side in (-1, 1):
        y = side * vehicle.track_m / 2
        face([(rear, y - 0.12, 0), (rear, y + 0.12, 0), (rear, y + 0.12, 0.5), (rear, y - 0.12, 0.5)], TYRE)
    box(rear, front, half, 0.22, 0.62 * height, BODY, BODY_TOP)
    box(rear + 0.1, front - 0.7, half * 0.82, 0.62 * height, height, GLASS, BODY_TOP)
    for side in (-1, 1):
        y = side * half * 0.78
        face([(rear, y - 0.1, 0.5), (rear, y + 0.1, 0.5), (rear, y + 0.1, 0.62), (rear, y - 0.1, 0.62)], LAMP)
    return image, mask


def _draw_map(surface: Surface, road: Road) -> tuple[np.ndarray, float]:
    """Shrink the surface to the inset and draw the route on it; returns (picture, scale from its pixels)."""
    height, width = surface.image.shape[:2]
    scale = INSET_PX / max(height, width)
    small = cv2.resize(surface.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    plan = np.zeros((INSET_PX, INSET_PX, 3), np.uint8)
    plan[:] = np.array(small.mean(axis=(0, 1)), np.uint8)
    plan[: small.shape[0], : small.shape[1]] = small
    route = road.xy_m[road.index(0.0) : road.index(road.length_m)]
    line = np.round(surface.to_pixels(route) * scale).astype(np.int32)
    cv2.polylines(plan, [line[:, None]], isClosed=False, color=ROUTE, thickness=2, lineType=cv2.LINE_AA)
    return plan, scale


def _upright(plan: np.ndarray) -> np.ndarray:
    """Rows grow with y in a surface; on a map for people north is up."""
    return plan[::-1]
