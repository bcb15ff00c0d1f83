"""What the camera's sensor makes of the light: exposure, white balance, flicker, noise."""

import math
from functools import cache

import cv2
import numpy as np

from sim.effects import Motion
from sim.look import Look
from sim.spec import CameraSpec

SPARE_PX = 32  # of a sheet of noise beyond the picture, to shift it by
FLAT = 128  # a gain of one, or no noise, in a table of bytes


class Exposure:
    """A gain that wanders slowly: three waves of 3 to 30 s at ten frames a second, up to a stop either way."""

    def __init__(self, strength: float, look: Look, camera: CameraSpec, rng: np.random.Generator) -> None:
        self._amplitude = 0.23 * strength
        self._rates = (2 * math.pi / np.array([30, 90, 300]) * rng.uniform(0.8, 1.25, 3)).tolist()
        self._phases = rng.uniform(0, 2 * math.pi, 3).tolist()

    def __call__(self, image: np.ndarray, motion: Motion) -> np.ndarray:
        """Multiply the image in place."""
        waves = (math.sin(rate * motion.frame + phase) for rate, phase in zip(self._rates, self._phases, strict=True))
        return cv2.convertScaleAbs(image, dst=image, alpha=math.exp(self._amplitude * sum(waves)))


class WhiteBalance:
    """A gain for each channel, as from another camera or another light."""

    def __init__(self, strength: float, look: Look, camera: CameraSpec, rng: np.random.Generator) -> None:
        red, blue = rng.uniform(0.05, 0.13, 2) * rng.choice([-1, 1]) * [1, -1]
        self._gains = np.diag(1 + strength * np.array([red, -0.1 * (red + blue), blue]))

    def __call__(self, image: np.ndarray, motion: Motion) -> np.ndarray:
        """Return the balanced image."""
        return cv2.transform(image, self._gains)


class Flicker:
    """Bands of brightness that roll over the rows, as lamps on the mains make with a rolling shutter."""

    def __init__(self, strength: float, look: Look, camera: CameraSpec, rng: np.random.Generator) -> None:
        self._period = max(round(rng.uniform(0.35, 0.9) * camera.height_px), 2)
        self._height, self._speed = camera.height_px, rng.uniform(0.07, 0.4) * self._period
        row = np.arange(camera.height_px + self._period)
        gain = 1 + 0.2 * strength * np.sin(2 * math.pi * row / self._period)
        column = np.round(FLAT * gain).astype(np.uint8)[:, None, None]
        self._gains = np.ascontiguousarray(np.broadcast_to(column, (len(row), camera.width_px, 3)))

    def __call__(self, image: np.ndarray, motion: Motion) -> np.ndarray:
        """Multiply the rows in place."""
        first = int(motion.frame * self._speed) % self._period
        return cv2.multiply(image, self._gains[first : first + self._height], dst=image, scale=1 / FLAT)


class Noise:
    """Grain: each frame shows another piece of one sheet of it."""

    def __init__(self, strength: float, look: Look, camera: CameraSpec, rng: np.random.Generator) -> None:
        self._shape = camera.height_px, camera.width_px
        sheet = _grain(camera.height_px + SPARE_PX, camera.width_px + SPARE_PX)
        self._sheet = np.clip(FLAT + 0.5 + strength * sheet, 0, 255).astype(np.uint8)
        self._corners = rng.integers(SPARE_PX + 1, size=(251, 2)).tolist()

    def __call__(self, image: np.ndarray, motion: Motion) -> np.ndarray:
        """Add this frame's grain in place."""
        row, column = self._corners[motion.frame % len(self._corners)]
        grain = self._sheet[row : row + self._shape[0], column : column + self._shape[1]]
        return cv2.addWeighted(image, 1, grain, 1, -FLAT, dst=image)


@cache
def _grain(height: int, width: int) -> np.ndarray:
    """A sheet of grain, most of it grey, (h, w, 3) float32; the same for all, who sees which pieces is by chance."""
    rng = np.random.default_rng(0)
    grey, colour = (rng.standard_normal((height, width, channels), dtype=np.float32) for channels in (1, 3))
    return 8 * grey + 5 * colour
