"""The light of the sky as the camera sees it: the sun before it, and the fall of night."""

import math

import cv2
import numpy as np

from sim.effects import Motion
from sim.look import Look
from sim.optics import elevations
from sim.spec import CameraSpec

SUN = (255, 244, 208)
DUSK = np.array([0.56, 0.58, 0.7])  # what the deepest dusk leaves of each channel


class SunGlow:
    """The sky brightens around the sun, wherever the car turns it in the picture."""

    def __init__(self, strength: float, look: Look, camera: CameraSpec, rng: np.random.Generator) -> None:
        width = camera.width_px
        elevation_rad = rng.uniform(0.1, 0.4)
        self._sky = slice(0, int((elevations(camera)[:, width // 2] > 0).sum()))
        self._azimuth_rad = look.sun_azimuth_rad - camera.yaw_rad
        self._ahead = math.cos(elevation_rad) * math.cos(camera.pitch_rad)
        self._above = math.sin(elevation_rad) * math.sin(camera.pitch_rad)
        self._aside_px = math.cos(elevation_rad) * camera.focal_px
        self._width = width
        row = np.arange(self._sky.stop)[:, None] + 0.5
        row -= camera.height_px / 2 - camera.focal_px * math.tan(camera.pitch_rad + elevation_rad)
        column = np.arange(3 * width) + 0.5 - 1.5 * width  # a panorama, the sun in its middle
        away = np.hypot(row, column) / camera.focal_px
        light = np.exp(-away / 0.22) + 2 * np.exp(-((away / 0.07) ** 2))
        self._glow = np.clip(strength * light[..., None] * SUN, 0, 255).astype(np.uint8)

    def __call__(self, image: np.ndarray, motion: Motion) -> np.ndarray:
        """Add the glow to the sky's rows in place."""
        left_rad = self._azimuth_rad - motion.pose[2]
        depth = self._ahead * math.cos(left_rad) - self._above
        sky = image[self._sky]
        if depth > 0.1 and sky.size:
            start = self._width + round(self._aside_px * math.sin(left_rad) / depth)
            if 0 <= start <= 2 * self._width:
                cv2.add(sky, self._glow[:, start : start + self._width], dst=sky)
        return image


class Dusk:
    """Dusk: darker, bluer, and most so in the corners."""

    def __init__(self, strength: float, look: Look, camera: CameraSpec, rng: np.random.Generator) -> None:
        y = np.linspace(-1, 1, camera.height_px)[:, None, None]
        x = np.linspace(-1, 1, camera.width_px)[:, None]
        left = DUSK * (1 - 0.2 * (x**2 + y**2))
        self._kept = np.round(255 * (1 - strength * (1 - left))).astype(np.uint8)

    def __call__(self, image: np.ndarray, motion: Motion) -> np.ndarray:
        """Darken the image in place."""
        return cv2.multiply(image, self._kept, dst=image, scale=1 / 255)
