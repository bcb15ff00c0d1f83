"""Implementations of one camera: `planar` is fast, `bullet` is the reference that holds it to PyBullet."""

from typing import Protocol

import numpy as np

RENDERERS = {
    "planar": "sim.renderers.planar:PlanarRenderer",
    "bullet": "sim.renderers.bullet:BulletRenderer",
}


class Renderer(Protocol):
    """Made from a surface and a camera."""

    def render(self, pose: tuple[float, float, float]) -> np.ndarray:
        """Return the picture from pose (x_m, y_m, yaw_rad), (height, width, 3) uint8 RGB."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...
