"""The fast camera: on a flat road a pixel below the horizon sees a fixed point of the ground before the car.

Those points are computed once; a frame turns and shifts them by the car's pose, looks up where along and across
the road they lie, and there looks up the colour.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from sim.obstacles import Solid
from sim.optics import FAR_M, ground_points, sky
from sim.renderers.solids import draw_solids
from sim.spec import CameraSpec
from sim.surface import Surface


class PlanarRenderer:
    """Renders what a camera on the car sees of a surface."""

    def __init__(self, surface: Surface, camera: CameraSpec) -> None:
        self.surface, self.camera = surface, camera
        self._cells, self._sky = _gaze(camera, surface.cell_m, FAR_M * surface.road.unit_m)
        self._sky_rows = len(self._sky)
        self._shape = (camera.height_px - self._sky_rows, camera.width_px)
        self._beyond = (*map(float, surface.strip.beyond), 255.0)

    def render(
        self, pose: tuple[float, float, float], solids: Sequence[Solid] = (), out: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the picture from pose (x_m, y_m, yaw_rad), (height, width, 3) uint8 RGB, drawn into `out` if given."""
        x, y, yaw = pose
        surface = self.surface
        cos, sin = math.cos(yaw), math.sin(yaw)
        column, row = (x - surface.origin_m[0]) / surface.cell_m, (y - surface.origin_m[1]) / surface.cell_m
        columns, rows = np.array([[cos, -sin, column], [sin, cos, row]], np.float32) @ self._cells
        columns, rows = columns.reshape(self._shape), rows.reshape(self._shape)
        grid = surface.columns_from(column, row), surface.grid[1]
        along, across = (cv2.remap(at, columns, rows, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE) for at in grid)
        ground = cv2.remap(
            surface.strip.image, along, across, cv2.INTER_LINEAR, None, cv2.BORDER_CONSTANT, self._beyond
        )
        image = np.empty((self.camera.height_px, self.camera.width_px, 3), ground.dtype) if out is None else out
        image[: self._sky_rows] = self._sky
        cv2.cvtColor(ground, cv2.COLOR_RGBA2RGB, image[self._sky_rows :])
        if solids:
            draw_solids(image, self.camera, pose, solids, FAR_M * self.surface.road.unit_m)
        return image

    def close(self) -> None:
        """Nothing to free."""


@lru_cache(maxsize=32)  # cars with one camera share it, which leaves room in the processor's cache
def _gaze(camera: CameraSpec, cell_m: float, far_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the ground's pixels look, in cells before and left of the car, (3, n) homogeneous; and the sky's rows."""
    ground, depth = ground_points(camera)
    sky_rows = int((depth > far_m).sum()) // camera.width_px
    cells = ground[:, sky_rows * camera.width_px :] / cell_m
    return np.concatenate([cells, np.ones((1, cells.shape[1]))]).astype(np.float32), sky(camera)[:sky_rows]
