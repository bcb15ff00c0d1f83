"""The fast camera: on a flat road a pixel below the horizon sees a fixed point of the ground before the car.

Those points are computed once; a frame turns and shifts them by the car's pose and looks them up in the
surface.
"""

import math

import cv2
import numpy as np

from sim.spec import CameraSpec
from sim.surface import GRASS, PIXELS_PER_M, Surface

FAR_M = 60.0  # depth beyond which the ground fades into the sky
SKY_TOP, SKY_HORIZON = (120, 165, 215), (205, 220, 232)


class PlanarRenderer:
    """Renders what a camera on the car sees of a surface."""

    def __init__(self, surface: Surface, camera: CameraSpec) -> None:
        self.surface, self.camera = surface, camera
        ground, depth = ground_points(camera)
        self._ground = np.concatenate([ground, np.ones((1, ground.shape[1]))]).astype(np.float32)
        self._sky_rows = int((depth > FAR_M).sum()) // camera.width_px
        self._sky = sky(camera)[: self._sky_rows]

    def render(self, pose: tuple[float, float, float]) -> np.ndarray:
        """Return the picture from pose (x_m, y_m, yaw_rad), (height, width, 3) uint8 RGB."""
        x, y, yaw = pose
        cos, sin = math.cos(yaw) * PIXELS_PER_M, math.sin(yaw) * PIXELS_PER_M
        column, row = self.surface.to_pixels((x, y)) - 0.5  # cv2 puts a pixel's centre at a whole coordinate
        columns, rows = np.array([[cos, -sin, column], [sin, cos, row]], np.float32) @ self._ground
        shape = (self.camera.height_px, self.camera.width_px)
        image = cv2.remap(
            self.surface.image,
            columns.reshape(shape),
            rows.reshape(shape),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=GRASS,
        )
        image[: self._sky_rows] = self._sky
        return image

    def close(self) -> None:
        """Nothing to free."""


def ground_points(camera: CameraSpec) -> tuple[np.ndarray, np.ndarray]:
    """Where the ray through each pixel's centre meets the ground.

    Returns ((2, h*w) float64 metres before and left of the car's centre, (h*w,) metres of depth along the
    optical axis, infinite at and above the horizon).
    """
    right = (np.arange(camera.width_px) + 0.5 - camera.width_px / 2) / camera.focal_px
    down = (np.arange(camera.height_px) + 0.5 - camera.height_px / 2) / camera.focal_px
    right, down = (a.ravel() for a in np.meshgrid(right, down))
    cos, sin = math.cos(camera.pitch_rad), math.sin(camera.pitch_rad)
    forward, falling = cos - sin * down, sin + cos * down
    with np.errstate(divide="ignore"):
        depth = np.where(falling > 0, camera.height_m / falling, np.inf)
    reach = np.where(np.isfinite(depth), depth, 0.0)
    return np.stack([camera.x_m + reach * forward, -reach * right]), depth


def sky(camera: CameraSpec) -> np.ndarray:
    """A vertical gradient down to the horizon's haze, (h, w, 3) uint8."""
    horizon = camera.height_px / 2 - math.tan(camera.pitch_rad) * camera.focal_px
    blend = np.clip((np.arange(camera.height_px) + 0.5) / max(horizon, 1.0), 0, 1)[:, None, None]
    colour = (1 - blend) * np.array(SKY_TOP) + blend * np.array(SKY_HORIZON)
    return np.broadcast_to(colour, (camera.height_px, camera.width_px, 3)).astype(np.uint8)
