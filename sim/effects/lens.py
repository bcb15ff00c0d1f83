"""What the lens and the open shutter do: dirt before the glass, and motion blur."""

import math
from functools import cache

import cv2
import numpy as np

from sim.effects import Motion
from sim.effects.optics import Veil
from sim.look import Look
from sim.spec import CameraSpec

DIRT = (150, 142, 128)
SPOTS = 9
COARSE = 48  # pixels either way that spots are drawn with: they are soft
EXPOSURE_S = 0.025  # of the slowest shutter
NEAR = 0.3  # of the way from the horizon to the lowest row; above, the ground hardly moves
MOST_PX = 8.0  # that the ground smears downwards: a small car's camera, close above it, has a quicker shutter
PARTS = 16  # of a pixel, to which the reach of a blur is rounded
SHARP = np.ones(1, np.float32)  # the kernel that blurs nothing


class DirtyLens:
    """Soft spots on the glass, each out of focus, that stay where they are."""

    def __init__(self, strength: float, look: Look, camera: CameraSpec, rng: np.random.Generator) -> None:
        shape = (camera.height_px, camera.width_px)
        low, high = [[0], [0], [0.03], [0.35]], [[1], [1], [0.13], [0.75]]
        x, y, radius, density = rng.uniform(low, high, (4, SPOTS)).astype(np.float32)[..., None, None]
        axis = np.arange(COARSE, dtype=np.float32) / COARSE
        away = np.sqrt((axis - x) ** 2 + ((axis[:, None] - y) * (shape[0] / shape[1])) ** 2) / radius
        clear = (1 - density * np.clip(2 * (1 - away), 0, 1)).prod(axis=0)
        self._veil = Veil(strength * (1 - cv2.resize(clear, shape[::-1])), DIRT)

    def __call__(self, image: np.ndarray, motion: Motion) -> np.ndarray:
        """Veil the image in place."""
        return self._veil(image)


class MotionBlur:
    """The picture moves while the shutter is open: sideways as the car turns, downwards where the road is near.

    At y pixels under the horizon a point of flat ground moves down by y² v t / (f h) pixels in a time t: f is the
    focal length in pixels, v the speed and h the camera's height (from y = f h / distance).
    """

    def __init__(self, strength: float, look: Look, camera: CameraSpec, rng: np.random.Generator) -> None:
        self._sideways_px_s = strength * EXPOSURE_S * camera.focal_px
        horizon = camera.height_px / 2 - math.tan(camera.pitch_rad) * camera.focal_px
        nearest = max(camera.height_px - horizon, 1.0)
        first = min(max(round(horizon + NEAR * nearest), 0), camera.height_px)
        self._ground = slice(first, camera.height_px)
        self._downwards_px_m = strength * EXPOSURE_S * nearest**2 / (camera.focal_px * camera.height_m)
        below = np.arange(first, camera.height_px) + 0.5 - horizon
        share = np.round(255 * (below / nearest) ** 2).astype(np.uint8)[:, None, None]
        self._moving = np.ascontiguousarray(np.broadcast_to(share, (len(share), camera.width_px, 3)))
        self._resting = 255 - self._moving

    def __call__(self, image: np.ndarray, motion: Motion) -> np.ndarray:
        """Return the image blurred: all of it sideways, and of the ground each row by its share downwards."""
        sideways_px = abs(motion.yaw_rate_radps) * self._sideways_px_s
        if sideways_px > 1 / PARTS:
            taps, sigma = _gaussian(sideways_px)
            image = cv2.GaussianBlur(image, (taps, 1), sigma, borderType=cv2.BORDER_REPLICATE)
        downwards_px = min(abs(motion.speed_mps) * self._downwards_px_m, MOST_PX)
        downwards = _smear(round(downwards_px * PARTS))
        if len(downwards) > 1 and len(self._moving):
            ground = image[self._ground]
            smeared = cv2.sepFilter2D(ground, -1, SHARP, downwards, borderType=cv2.BORDER_REPLICATE)
            cv2.multiply(smeared, self._moving, dst=smeared, scale=1 / 255)
            cv2.multiply(ground, self._resting, dst=ground, scale=1 / 255)
            cv2.add(ground, smeared, dst=ground)
        return image


def _gaussian(pixels: float) -> tuple[int, float]:
    """Taps and sigma of the Gaussian, the quickest of blurs, that smears as a move over so many pixels does.

    Linear interpolation on the way from −p/2 to p/2 leaves both neighbours p/8, while p is below 2; from there on
    the variance is that of the way, p²/12, and of the interpolation, 1/6.
    """
    if pixels < 2:
        return 3, (2 * math.log(8 / pixels - 2)) ** -0.5
    return 5, math.sqrt(pixels**2 / 12 + 1 / 6)


@cache
def _smear(parts: int) -> np.ndarray:
    """The kernel of a move over so many PARTS of a pixel, interpolated linearly, (odd,) float32."""
    half = parts / PARTS / 2
    reach = math.ceil(half) if half else 0
    place = np.arange(-reach, reach + 1)
    passed = _integral_of_hat(half - place) - _integral_of_hat(-half - place) if half else np.ones(1)
    return (passed / passed.sum()).astype(np.float32)


def _integral_of_hat(x: np.ndarray) -> np.ndarray:
    """The integral up to x of linear interpolation's weight, max(0, 1 − |x|)."""
    x = np.clip(x, -1, 1)
    return np.where(x < 0, (1 + x) ** 2 / 2, 1 - (1 - x) ** 2 / 2)
