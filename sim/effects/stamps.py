"""Shapes to stamp on a strip: where on the pavement they go, and how they are blended in."""

import math
from functools import cache

import cv2
import numpy as np

from sim.markings import blend
from sim.materials import TILE_PX, noise
from sim.strip import Strip

BLOB_PX = 64
BLOBS = 8


class Pavement:
    """A strip's pavement, for placing things on it by fractions across: 0 is its left edge, 1 its right one."""

    def __init__(self, strip: Strip) -> None:
        self.columns = strip.image.shape[1]
        self.length_m = self.columns / strip.along_ppm / strip.road.unit_m  # at full size
        self._bottom, self._top = strip.pavement

    def rows(self, columns: np.ndarray, across: np.ndarray) -> np.ndarray:
        """The row at a fraction across the pavement in each column, float."""
        top = self._top[columns]
        return top + across * (self._bottom[columns] - top)

    @property
    def span(self) -> slice:
        """All the rows that it takes anywhere."""
        return slice(int(self._top.min()), math.ceil(self._bottom.max()))

    def limits(self, column: int) -> tuple[int, int]:
        """The first row of the pavement in a column and the one after its last."""
        return round(float(self._top[column])), round(float(self._bottom[column]))


def stamp(
    image: np.ndarray, centre: tuple[int, int], weight: np.ndarray, colour: np.ndarray, limits: tuple[int, int]
) -> None:
    """Blend a colour (4,) RGBA over the image around centre (row, column), within rows [limits).

    weight: (h, w) float32 opacity in [0, 1]; what lies beyond the image is cut off.
    """
    height, width = weight.shape
    top, left = centre[0] - height // 2, centre[1] - width // 2
    first, last = max(top, limits[0]), min(top + height, limits[1])
    start, stop = max(left, 0), min(left + width, image.shape[1])
    if first < last and start < stop:
        blend(image[first:last, start:stop], weight[first - top : last - top, start - left : stop - left], colour)


@cache
def blob(number: int) -> np.ndarray:
    """A ragged spot that fades at its rim, (BLOB_PX, BLOB_PX) float32 in [0, 1]; there are BLOBS of them."""
    axis = np.linspace(-1, 1, BLOB_PX, dtype=np.float32)
    from_centre = np.hypot(axis, axis[:, None])
    row, column = 61 * number % (TILE_PX[0] - BLOB_PX), 117 * number % (TILE_PX[1] - BLOB_PX)
    ragged = noise(1.0)[row : row + BLOB_PX, column : column + BLOB_PX]
    ragged = (ragged - ragged.mean()) / ragged.std()
    return np.clip(4 * (0.62 - from_centre + 0.12 * ragged), 0, 1) * (from_centre < 1)


def sized_blob(number: int, height: float, width: float) -> np.ndarray:
    """A blob of that many pixels, at least one either way, (h, w) float32."""
    size = (max(round(width), 1), max(round(height), 1))
    return cv2.resize(blob(number % BLOBS), size, interpolation=cv2.INTER_LINEAR)


def opaque(red: float, green: float, blue: float) -> np.ndarray:
    """A colour as strips have them, (4,) uint8 RGBA."""
    return np.array([red, green, blue, 255], np.uint8)
