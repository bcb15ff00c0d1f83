"""Implementations of one camera: `planar` is fast, `bullet` is the reference that holds it to PyBullet."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from sim.obstacles import Solid

RENDERERS = {
    "planar": "sim.renderers.planar:PlanarRenderer",
    "bullet": "sim.renderers.bullet:BulletRenderer",
}


class Renderer(Protocol):
    """Made from a surface and a camera."""

    def render(
        self, pose: tuple[float, float, float], solids: Sequence[Solid] = (), out: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the picture from pose (x_m, y_m, yaw_rad), (height, width, 3) uint8 RGB, drawn into `out` if given."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...
