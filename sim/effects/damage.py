"""What use does to a road: paint rubbed off, repairs, cracks, the marks of tyres."""

import math

import cv2
import numpy as np

from sim.effects.stamps import Pavement, opaque, stamp
from sim.markings import paint
from sim.materials import MATERIALS, TILE_PX, noise
from sim.strip import Strip, painted

WHEELS_M = 0.65  # of a car's wheels from its middle, at full size
RUBBER = opaque(34, 34, 36)
SUBPIXEL_BITS = 4  # cv2 draws with coordinates in sixteenths of a pixel


def wear_lines(strip: Strip, strength: float, rng: np.random.Generator) -> None:
    """Rub paint off in blotches, down to the pavement; the two sides of a line wear each for itself."""
    pavement = opaque(*MATERIALS[strip.look.pavement].colour)
    for line in painted(strip):
        middle = (line.top + line.bottom) / 2
        for top, bottom in ((line.top, middle), (middle, line.bottom)):
            bare = strength * np.clip(0.45 + 0.8 * _wander(strip, rng), 0, 0.95)
            paint(strip.image, top, bottom, bare * line.weight, pavement)


def patch(strip: Strip, strength: float, rng: np.random.Generator) -> None:
    """Mend the pavement with rectangles of darker, fresher asphalt within a sealed seam."""
    pavement, unit = Pavement(strip), strip.road.unit_m
    count = round(pavement.length_m / 12)
    columns = rng.integers(pavement.columns, size=count)
    rows = pavement.rows(columns, rng.uniform(0.1, 0.9, count)).astype(int)
    lengths = np.exp(rng.uniform(math.log(0.6), math.log(9), count)) * unit * strip.along_ppm
    widths = rng.uniform(0.4, 1.8, count) * unit * strip.across_ppm
    shades = rng.uniform(0.6, 0.85, (count, 1))
    colours = np.append(shades * MATERIALS[strip.look.pavement].colour, np.full((count, 1), 255), axis=1)
    for row, column, length, width, colour in zip(
        rows, columns, lengths, widths, colours.astype(np.uint8), strict=True
    ):
        weight = np.full((max(round(width), 3), max(round(length), 3)), 0.75 * strength, np.float32)
        weight[[0, -1]] = weight[:, [0, -1]] = strength
        stamp(strip.image, (row, column), weight, colour, pavement.limits(column))


def crack(strip: Strip, strength: float, rng: np.random.Generator) -> None:
    """Let dark cracks wander along and across the pavement."""
    pavement, unit = Pavement(strip), strip.road.unit_m
    along, across = round(pavement.length_m / 25), round(pavement.length_m / 9)
    step = 0.4 * unit * strip.along_ppm
    columns = _walks(rng, along, 40, step, 0.3 * step), _walks(rng, across, 14, 0.0, 0.5 * step)
    fractions = _walks(rng, along, 40, 0.0, 0.02), _walks(rng, across, 14, 0.06, 0.03)
    sides = rng.uniform(0.1, 0.9, (along, 1)), rng.uniform(-0.2, 0.6, (across, 1))
    ground = strip.image[pavement.span]
    lines = []
    for column, fraction, side in zip(columns, fractions, sides, strict=True):
        x = np.clip(column + rng.uniform(0, pavement.columns, side.shape), 0, pavement.columns - 1)
        y = pavement.rows(x.astype(int), np.clip(fraction + side, 0.02, 0.98)) - pavement.span.start
        lines += [*np.rint(np.stack([x, y], axis=2) * 2**SUBPIXEL_BITS).astype(np.int32)]
    canvas = np.zeros_like(ground)
    depth = 55 * strength
    cv2.polylines(canvas, lines, False, (depth, depth, depth, 0), 1, cv2.LINE_AA, SUBPIXEL_BITS)
    cv2.subtract(ground, canvas, dst=ground)


def _walks(rng: np.random.Generator, count: int, points: int, drift: float, spread: float) -> np.ndarray:
    """Random walks from 0 that drift, (count, points)."""
    return np.cumsum(rng.normal(drift, spread, (count, points)), axis=1)


def mark_with_tyres(strip: Strip, strength: float, rng: np.random.Generator) -> None:
    """Darken the tracks that wheels keep to, and leave some skid marks in those of a lane."""
    road, unit = strip.road, strip.road.unit_m
    half = 0.22 * unit * strip.across_ppm
    skidding, skids = rng.integers(road.lanes), _skids(strip, rng)
    for lane in range(road.lanes):
        middle = strip.rows(lane * (road.left_m + road.right_m))
        for side in (-1, 1):
            row = middle + side * WHEELS_M * unit * strip.across_ppm
            weight = np.clip(0.15 + 0.05 * _wander(strip, rng), 0, 0.4)
            paint(strip.image, row - half, row + half, strength * weight, RUBBER)
            if lane == skidding:
                paint(strip.image, row - half / 2, row + half / 2, strength * skids, RUBBER)


def _skids(strip: Strip, rng: np.random.Generator) -> np.ndarray:
    """How dark skid marks are in each column, growing to their end, where the wheels stood; (columns,) float32."""
    columns = strip.image.shape[1]
    metre = strip.road.unit_m * strip.along_ppm
    dark = np.zeros(columns, np.float32)
    for start in rng.integers(columns, size=round(columns / metre / 60)):
        skid = dark[start : start + round(rng.uniform(4, 14) * metre)]
        skid[:] = np.linspace(0.1, 0.5, len(skid))
    return dark


def _wander(strip: Strip, rng: np.random.Generator) -> np.ndarray:
    """Noise of mean 0 and deviation 1 along the strip, (columns,) float32."""
    row, start = rng.integers(TILE_PX[0]), rng.integers(TILE_PX[1])
    return noise(1.0)[row].take(start + np.arange(strip.image.shape[1]), mode="wrap")
