"""The air between the camera and the road: fog and rain."""

import cv2
import numpy as np

from sim.effects import Motion
from sim.effects.optics import Veil
from sim.look import Look
from sim.optics import elevations
from sim.spec import CameraSpec

FOG = (200, 207, 212)
DENSITY = (
    0.1  # of the thickest fog, per camera height: light fades to 1/e in 13 m for a car, in its share for a small one
)
LAYER = 8.0  # camera heights that fog reaches up


class Fog:
    """Air that scatters: what is far away pales, exp(−density · distance) of it is left (Koschmieder 1924)."""

    def __init__(self, strength: float, look: Look, camera: CameraSpec, rng: np.random.Generator) -> None:
        sine = np.sin(elevations(camera))
        heights = np.where(sine < 0, 1.0, LAYER)  # up to where the ray leaves the fog: at the ground or above it
        distance = heights / np.maximum(np.abs(sine), 1e-3)
        self._veil = Veil(1 - np.exp(-strength * DENSITY * distance), FOG)

    def __call__(self, image: np.ndarray, motion: Motion) -> np.ndarray:
        """Veil the image in place."""
        return self._veil(image)


class Rain:
    """Streaks that fall too fast to follow: each frame shows another piece of a curtain of them, in grey air."""

    def __init__(self, strength: float, look: Look, camera: CameraSpec, rng: np.random.Generator) -> None:
        self._shape = height, width = camera.height_px, camera.width_px
        curtain = np.zeros((2 * height, 2 * width), np.uint8)
        count = round(0.9 * (height + width))
        start = rng.uniform((0, 0), (2 * width, 2 * height), (count, 2))
        length = rng.uniform(0.06, 0.2, (count, 1)) * height
        fall = np.array([rng.uniform(-0.25, 0.25), 1.0]) * length
        drops = np.round(16 * np.stack([start, start + fall], axis=1)).astype(np.int32)
        for drop, light in zip(drops, rng.integers(45, 120, count).tolist(), strict=True):
            cv2.polylines(curtain, [drop], False, light, 1, cv2.LINE_AA, 4)
        curtain = cv2.GaussianBlur(curtain, (3, 3), 0.6)
        self._curtain = cv2.merge([curtain] * 3)
        self._corners = rng.integers((height, width), size=(251, 2)).tolist()
        self._strength = strength

    def __call__(self, image: np.ndarray, motion: Motion) -> np.ndarray:
        """Add this frame's streaks in place."""
        row, column = self._corners[motion.frame % len(self._corners)]
        streaks = self._curtain[row : row + self._shape[0], column : column + self._shape[1]]
        kept = 1 - 0.3 * self._strength
        return cv2.addWeighted(image, kept, streaks, self._strength, 45 * self._strength, dst=image)
