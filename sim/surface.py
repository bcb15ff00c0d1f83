"""The road's surface seen from above: grass, asphalt and painted lines as one picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from sim.road import STEP_M, Road

PIXELS_PER_M = 10.0
MARGIN_M = 16.0  # of grass around the road
SUBPIXEL_BITS = 4  # cv2 draws with coordinates in sixteenths of a pixel

GRASS = (92, 122, 58)
ASPHALT = (98, 98, 102)
PAINT = (226, 226, 220)
DASH_M, GAP_M = 3.0, 6.0  # of the line between lanes


@dataclass(frozen=True)
class Surface:
    """A top-down RGB picture, (h, w, 3) uint8; row and column grow with y and x from `origin_m`."""

    image: np.ndarray
    origin_m: tuple[float, float]

    def to_pixels(self, xy_m: ArrayLike) -> np.ndarray:
        """Map world metres (…, 2) to pixel coordinates (column, row), (…, 2) float64."""
        return (np.asarray(xy_m) - self.origin_m) * PIXELS_PER_M


def draw_surface(road: Road) -> Surface:
    """Paint the road and what lies around it; the same road gives the same picture."""
    low, high = road.xy_m.min(axis=0) - MARGIN_M, road.xy_m.max(axis=0) + MARGIN_M
    width, height = np.ceil((high - low) * PIXELS_PER_M).astype(int)
    rng = np.random.default_rng([road.seed, 1])
    surface = Surface(_texture(rng, height, width, GRASS, contrast=10), (float(low[0]), float(low[1])))
    right, left = -road.lane.width_m / 2, road.lane.width_m * (road.lane.lanes - 0.5)
    _pave(surface, road, right, left, _texture(rng, height, width, ASPHALT, contrast=5))
    _mark(surface, road, right)
    _mark(surface, road, left)
    for lane in range(1, road.lane.lanes):
        _mark(surface, road, right + lane * road.lane.width_m, dashed=True)
    return surface


def _texture(rng: np.random.Generator, height: int, width: int, colour: tuple, contrast: float) -> np.ndarray:
    """Mottled ground: 1/f noise on a tile that repeats without a seam; (height, width, 3) uint8."""
    size = 512
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = np.inf  # no change of the mean
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) / frequency)
    tile = np.clip(np.array(colour) + contrast * (noise / noise.std())[..., None], 0, 255).astype(np.uint8)
    repeats = (-(-height // size), -(-width // size), 1)
    return np.ascontiguousarray(np.tile(tile, repeats)[:height, :width])


def _pave(surface: Surface, road: Road, right_m: float, left_m: float, asphalt: np.ndarray) -> None:
    """Copy asphalt where the road is, half a metre beyond its edge lines."""
    edges = [road.offset_line(left_m + 0.5), road.offset_line(right_m - 0.5)[::-1]]
    mask = np.zeros(surface.image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [_fixed_point(surface, np.concatenate(edges))], 255, cv2.LINE_8, SUBPIXEL_BITS)
    cv2.copyTo(asphalt, mask, surface.image)


def _mark(surface: Surface, road: Road, left_m: float, dashed: bool = False) -> None:
    """Paint a line that far left of the lane's centre; cv2 makes it up to a pixel (0.1 m) wider than asked."""
    half = road.lane.line_width_m / 2
    left, right = road.offset_line(left_m + half), road.offset_line(left_m - half)
    dash, period = round(DASH_M / STEP_M), round((DASH_M + GAP_M) / STEP_M)
    starts = range(0, len(left) - dash, period) if dashed else [0]
    stretches = [slice(i, i + dash + 1 if dashed else None) for i in starts]
    for stretch in stretches:
        outline = np.concatenate([left[stretch], right[stretch][::-1]])
        cv2.fillPoly(surface.image, [_fixed_point(surface, outline)], PAINT, cv2.LINE_AA, SUBPIXEL_BITS)


def _fixed_point(surface: Surface, xy_m: np.ndarray) -> np.ndarray:
    """World metres to cv2's fixed-point pixels, whose centres lie at whole coordinates; (n, 1, 2) int32."""
    return np.round((surface.to_pixels(xy_m) - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)[:, None]
