"""Painted lines: which stripes make up a line, and how paint covers pixels by area."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

LINE_WIDTH_M = 0.15
PAINTS = {"white": (226, 226, 220), "yellow": (214, 170, 60)}
CHUNK_PX = 1024  # columns painted at once where a line wanders across the strip


@dataclass(frozen=True)
class Stripe:
    """One painted stripe of a line, at full size."""

    left_m: float = 0.0  # of the line's middle
    dash_m: float = 0.0  # painted in each period; 0 is painted throughout
    gap_m: float = 0.0


LINES: dict[str, tuple[Stripe, ...]] = {
    "none": (),
    "solid": (Stripe(),),
    "dashed": (Stripe(dash_m=3.0, gap_m=6.0),),
    "double": (Stripe(left_m=(LINE_WIDTH_M + 0.12) / 2), Stripe(left_m=-(LINE_WIDTH_M + 0.12) / 2)),
}


def dashes(columns: int, period_px: float, dash_px: float) -> np.ndarray:
    """How much of each column a dashed line covers that begins with a dash, (columns,) float32 in [0, 1]."""
    edge = np.arange(columns + 1)
    periods = np.floor(edge / period_px)
    painted = periods * dash_px + np.minimum(edge - periods * period_px, dash_px)  # up to that edge
    return np.diff(painted).astype(np.float32)


def paint(image: np.ndarray, top: np.ndarray, bottom: np.ndarray, weight: np.ndarray, colour: np.ndarray) -> None:
    """Blend a colour over rows [top, bottom) of each column, partly where they cover a pixel partly.

    image: (h, w, 4) uint8 RGBA; top, bottom: (w,) float32 rows within it; weight: (w,) float32 opacity in [0, 1];
    colour: (4,) uint8 RGBA.
    """
    for start in range(0, image.shape[1], CHUNK_PX):  # a line that wanders far stays within few rows of a chunk
        here = slice(start, start + CHUNK_PX)
        high, low = top[here], bottom[here]
        first, last = math.floor(high.min()), math.ceil(low.max())
        row = np.arange(first, last, dtype=np.float32)[:, None]
        cover = np.clip(np.minimum(low, row + 1) - np.maximum(high, row), 0, 1) * weight[here]
        blend(image[first:last, here], cover, colour)


def blend(ground: np.ndarray, weight: np.ndarray, colour: np.ndarray) -> None:
    """Blend a colour (4,) RGBA over a ground (h, w, 4) in place; weight: (h, w) float32 opacity in [0, 1]."""
    flat = np.full(weight.shape, colour.view(np.uint32)).view(np.uint8).reshape(ground.shape)  # four bytes at once
    cv2.blendLinear(flat, ground, weight, 1 - weight, dst=ground)
