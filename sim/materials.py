"""What the ground is made of: seamless tiles of natural noise, made once per process."""

from dataclasses import dataclass
from functools import cache

import numpy as np

ALONG_PX, ACROSS_PX = 10, 20  # pixels of a tile per metre at full size
TILE_PX = (512, 1024)  # (rows, columns): 25.6 m across and 102.4 m along the road

GRASS = (92, 122, 58)
ASPHALT = (98, 98, 102)


@dataclass(frozen=True)
class Material:
    """A ground by its mean colour (RGB), how far it strays from that, and how coarse its grain is."""

    colour: tuple[int, int, int]
    contrast: float  # standard deviation of each channel
    roughness: float = 1.0  # amplitude falls with frequency to this power: 1 is natural mottle, 0 is sand
    joint_m: float = 0.0  # between transverse joints; 0 has none


MATERIALS = {
    "asphalt": Material(ASPHALT, 5),
    "concrete": Material((156, 154, 147), 5, joint_m=5.0),
    "gravel": Material((146, 134, 114), 12, roughness=0.5),
}
VERGES = {
    "grass": Material(GRASS, 10),
    "gravel": Material((154, 144, 122), 14, roughness=0.5),
    "kerb": Material(GRASS, 10),  # beyond the kerb
}


@cache
def noise(roughness: float) -> np.ndarray:
    """Mottle of mean 0 and standard deviation 1 that repeats without a seam, TILE_PX float32.

    Its amplitude falls with the frequency f in cycles per metre as 1 / f**roughness.
    """
    rows, columns = TILE_PX
    along = np.fft.rfftfreq(columns, 1 / ALONG_PX)
    across = np.fft.fftfreq(rows, 1 / ACROSS_PX)[:, None]
    frequency = np.hypot(across, along)
    frequency[0, 0] = np.inf  # no change of the mean
    white = np.random.default_rng(0).standard_normal(TILE_PX)
    mottle = np.fft.irfft2(np.fft.rfft2(white) / frequency**roughness)
    return (mottle / mottle.std()).astype(np.float32)


@cache
def tile(material: Material) -> np.ndarray:
    """That ground seen from above, (*TILE_PX, 4) uint8 RGBA."""
    mottle = material.contrast * noise(material.roughness)
    picture = np.full((*TILE_PX, 4), 255, np.uint8)
    picture[..., :3] = np.clip(np.array(material.colour) + mottle[..., None] + 0.5, 0, 255)
    return picture


def lay(ground: np.ndarray, source: np.ndarray, shift: tuple[int, int]) -> None:
    """Cover `ground` (h, w, …) with a tile `source` repeated from its pixel `shift` (row, column) on."""
    rows, columns = source.shape[:2]
    height, width = ground.shape[:2]
    for row in range(-(shift[0] % rows), height, rows):
        for column in range(-(shift[1] % columns), width, columns):
            part = ground[max(row, 0) : row + rows, max(column, 0) : column + columns]
            y, x = max(-row, 0), max(-column, 0)
            part[:] = source[y : y + part.shape[0], x : x + part.shape[1]]
