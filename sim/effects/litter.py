"""What lies on a road: water and leaves."""

import math

import numpy as np

from sim.effects.stamps import Pavement, opaque, sized_blob, stamp
from sim.materials import MATERIALS
from sim.strip import Strip

SKY_IN_WATER = opaque(186, 202, 216)
LEAVES = np.stack(
    [opaque(150, 104, 44), opaque(122, 84, 40), opaque(170, 132, 54), opaque(96, 74, 44), opaque(134, 62, 36)]
)


def pour_puddles(strip: Strip, strength: float, rng: np.random.Generator) -> None:
    """Let water that mirrors the sky stand on the pavement, more of it near the edges, wet dark ground around it."""
    pavement, unit = Pavement(strip), strip.road.unit_m
    count = round(pavement.length_m / 12)
    columns = rng.integers(pavement.columns, size=count)
    rows = pavement.rows(columns, rng.beta(0.8, 0.8, count)).astype(int)
    lengths = rng.uniform(1.5, 7.0, count) * unit * strip.along_ppm
    widths = rng.uniform(0.5, 1.7, count) * unit * strip.across_ppm
    wet = opaque(*(0.6 * np.array(MATERIALS[strip.look.pavement].colour)))
    for number, (row, column, length, width) in enumerate(zip(rows, columns, lengths, widths, strict=True)):
        limits = pavement.limits(column)
        stamp(strip.image, (row, column), strength * 0.7 * sized_blob(number, 1.6 * width, 1.3 * length), wet, limits)
        stamp(strip.image, (row, column), strength * 0.8 * sized_blob(number, width, length), SKY_IN_WATER, limits)


def drop_leaves(strip: Strip, strength: float, rng: np.random.Generator) -> None:
    """Strew autumn leaves over the pavement, the more the stronger, most of them along its edges."""
    pavement = Pavement(strip)
    count = round(20 * strength * pavement.length_m)
    columns = rng.integers(pavement.columns, size=count)
    across = np.sin(rng.uniform(0, math.pi / 2, count)) ** 2
    rows = np.minimum(pavement.rows(columns, across).astype(int), len(strip.image) - 1)
    strip.image[rows, columns] = LEAVES[rng.integers(len(LEAVES), size=count)]
