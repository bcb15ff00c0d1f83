"""The road's surface unrolled: one picture along the road, in which every line runs level.

The drive goes to the right: columns grow with the distance from the road's first point, rows grow to the right of it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pkgutil import resolve_name
from typing import NamedTuple

import cv2
import numpy as np

from sim.effects import SURFACE_EFFECTS
from sim.look import Look
from sim.markings import LINE_WIDTH_M, LINES, PAINTS, Stripe, dashes, paint
from sim.materials import ACROSS_PX, ALONG_PX, MATERIALS, VERGES, Material, lay, tile
from sim.road import Road

HALF_M = 12.0  # from the lane's centre to a strip's edges, at full size
VERGE_M = 3.0  # at least, beside the pavement of a wide road
OVERLAP_M = 60.0  # of a circuit's strip, as far as a camera sees, at full size
MAX_COLUMNS = 32000  # cv2.remap takes hardly more
SEAM_PX = 64  # in which the ground at a circuit's end fades into that at its beginning
GROOVE_M = 0.03  # a joint's width
KERB_M, KERB_BLOCK_M = 0.3, 1.0
KERBS = [
    ((188, 60, 52), (218, 216, 210)),
    ((150, 150, 148), (136, 136, 135)),
]  # blocks by turns: a race track's, a town's


@dataclass(frozen=True, eq=False)
class Strip:
    """A picture of a road's surface, (rows, columns, 4) uint8 RGBA; alpha is 255, four channels are fast to look up."""

    image: np.ndarray
    road: Road
    look: Look
    along_ppm: float  # pixels per metre
    across_ppm: float
    half_m: float  # it reaches from -half_m to half_m across
    overlap: int = 0  # columns at the end of a circuit that are those of its beginning again

    def to_pixels(self, along_m: np.ndarray, left_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map metres from the road's first point and left of its lane's centre to (column, row), pixel edges whole."""
        return along_m * self.along_ppm, (self.half_m - left_m) * self.across_ppm

    def rows(self, left_m: np.ndarray) -> np.ndarray:
        """The row in each column's middle of a line `left_m`, (n,) of the road's points; (columns,) float32."""
        road = self.road
        point = (np.arange(self.image.shape[1]) + 0.5) / self.along_ppm / road.step_m
        period = len(left_m) if road.closed else None
        at_columns = np.interp(point, np.arange(len(left_m)), left_m, period=period)
        return ((self.half_m - at_columns) * self.across_ppm).astype(np.float32)

    @cached_property
    def pavement(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the pavement's right and left edges, (columns,) float32 each."""
        right_m, left_m = self.road.pavement
        return self.rows(right_m), self.rows(left_m)

    def period_px(self, full_size_m: float) -> float:
        """How many columns something repeats after; on a circuit so many that the lap takes a whole number."""
        columns, period = self.image.shape[1], full_size_m * self.road.unit_m * self.along_ppm
        return columns / max(round(columns / period), 1) if self.road.closed else period

    @property
    def beyond(self) -> np.ndarray:
        """The mean colour of the outermost metre on both sides, which goes on beyond the strip, (3,) uint8."""
        outermost = round(self.across_ppm * self.road.unit_m)
        sides = [cv2.mean(side)[:3] for side in (self.image[:outermost], self.image[-outermost:])]
        return np.round(np.mean(sides, axis=0)).astype(np.uint8)


def draw_strip(road: Road, look: Look) -> Strip:
    """Draw verge, pavement, markings and then the look's surface effects; the same look gives the same picture."""
    strip = _blank(road, look)
    columns = strip.image.shape[1] - strip.overlap
    lap = replace(strip, image=strip.image[:, :columns], overlap=0)
    _pave(lap)
    _plant(lap)
    if look.verge == "kerb":
        _set_kerbs(lap)
    for line in painted(lap):
        paint(lap.image, *line)
    for number, (name, effect) in enumerate(SURFACE_EFFECTS.items()):
        if name in look.surface:
            resolve_name(effect)(lap, look.surface[name], np.random.default_rng([look.seed, number]))
    strip.image[:, columns:] = strip.image[:, : strip.overlap]
    return strip


def _blank(road: Road, look: Look) -> Strip:
    unit = road.unit_m
    length_m = (len(road.xy_m) - (not road.closed)) * road.step_m
    columns = min(round(length_m * ALONG_PX / unit), MAX_COLUMNS)
    overlap = min(round(OVERLAP_M / length_m * unit * columns), columns // 2) if road.closed else 0
    paved_m = max(float(np.abs(edge).max()) for edge in road.pavement)
    half = math.ceil(max(HALF_M, paved_m / unit + VERGE_M))
    image = np.empty((2 * half * ACROSS_PX, columns + overlap, 4), np.uint8)
    return Strip(image, road, look, columns / length_m, ACROSS_PX / unit, half * unit, overlap)


def _lay(strip: Strip, ground: np.ndarray, material: Material, first: int = 0) -> None:
    """Cover ground (h, columns, 4) with a material; on a circuit its end fades into what precedes its beginning.

    Grounds whose `first` rows follow each other, as they do on the strip, are one piece.
    """
    row, column = np.random.default_rng(strip.look.seed).integers(1 << 16, size=2).tolist()
    lay(ground, tile(material), (row + first, column))
    if strip.road.closed:
        end = ground[:, -SEAM_PX:]
        before = np.empty_like(end)
        lay(before, tile(material), (row + first, column - end.shape[1]))
        weight = np.tile(np.linspace(0, 1, end.shape[1], dtype=np.float32), (len(end), 1))
        cv2.blendLinear(before, end, weight, 1 - weight, dst=end)


def _pave(strip: Strip) -> None:
    """Lay the pavement on all rows that it takes anywhere, with joints across it where the material has some."""
    right, left = map(_rows_through, strip.pavement)
    paved = strip.image[left.start : right.stop]
    material = MATERIALS[strip.look.pavement]
    _lay(strip, paved, material)
    if material.joint_m:
        _cut_joints(strip, paved, material.joint_m)


def _plant(strip: Strip) -> None:
    """Lay the verge on both sides of the pavement, and where an edge wanders, on what of its rows lies outside."""
    verge, image = VERGES[strip.look.verge], strip.image
    right, left = strip.pavement
    over, under = _rows_through(left), _rows_through(right)
    _lay(strip, image[: over.start], verge)
    _lay(strip, image[under.stop :], verge, under.stop)
    for rows, top, bottom in ((over, 0.0, left), (under, right, len(image))):
        border = np.empty_like(image[rows])
        _lay(strip, border, verge, rows.start)
        _inlay(image, border, rows.start, top, bottom)


def _rows_through(edge: np.ndarray) -> slice:
    """The rows that a line, (columns,) rows, runs through."""
    return slice(math.floor(edge.min()), math.floor(edge.max()) + 1)


def _inlay(
    image: np.ndarray, picture: np.ndarray, first: int, top: np.ndarray | float, bottom: np.ndarray | float
) -> None:
    """Copy a picture, whose rows begin at `first`, where a row's middle lies in [top, bottom) of its column."""
    middle = np.arange(first, first + len(picture), dtype=np.float32)[:, None] + 0.5
    mask = ((middle >= top) & (middle < bottom)).view(np.uint8)
    cv2.copyTo(picture, mask, image[first : first + len(picture)])


def _cut_joints(strip: Strip, paved: np.ndarray, joint_m: float) -> None:
    """Darken a groove every `joint_m`; a column is wider, so it takes its share."""
    groove = dashes(paved.shape[1], strip.period_px(joint_m), GROOVE_M * strip.road.unit_m * strip.along_ppm)
    columns = np.flatnonzero(groove)
    kept = 1 - 0.6 * groove[columns, None] * [1, 1, 1, 0]
    paved[:, columns] = (paved[:, columns] * kept).astype(np.uint8)


def _set_kerbs(strip: Strip) -> None:
    """Set blocks of two colours by turns along both edges of the pavement."""
    block = np.arange(strip.image.shape[1]) // (strip.period_px(2 * KERB_BLOCK_M) / 2)
    pair = np.array(KERBS[strip.look.seed % len(KERBS)], np.uint8)
    row = np.full((1, strip.image.shape[1], 4), 255, np.uint8)
    row[0, :, :3] = pair[block.astype(int) % 2]
    width = KERB_M * strip.road.unit_m * strip.across_ppm
    right, left = strip.pavement
    for top, bottom in ((left - width, left), (right, right + width)):
        first, last = math.floor(top.min()), math.ceil(bottom.max())
        _inlay(strip.image, np.repeat(row, last - first, axis=0), first, top, bottom)


class Line(NamedTuple):
    """One painted stripe on a strip, as `paint` takes it."""

    top: np.ndarray  # (columns,) rows
    bottom: np.ndarray
    weight: np.ndarray  # (columns,) of paint
    colour: np.ndarray  # (4,) uint8 RGBA


def painted(strip: Strip) -> Iterator[Line]:
    """Every stripe of the road's lines: on both edges and between its lanes."""
    road, look = strip.road, strip.look
    lane_m = road.left_m + road.right_m
    yield from _stripes(strip, -road.right_m, look.right_line, look.right_paint)
    for lane in range(road.lanes - 1):
        yield from _stripes(strip, road.left_m + lane * lane_m, look.lane_line, look.lane_paint)
    yield from _stripes(strip, road.left_m + (road.lanes - 1) * lane_m, look.left_line, look.left_paint)


def _stripes(strip: Strip, left_m: np.ndarray, line: str, colour: str) -> Iterator[Line]:
    half = LINE_WIDTH_M / 2 * strip.road.unit_m * strip.across_ppm
    for stripe in LINES[line]:
        middle = strip.rows(left_m + stripe.left_m * strip.road.unit_m)
        weight = _dashed(strip, stripe)
        yield Line(middle - half, middle + half, weight, np.array([*PAINTS[colour], 255], np.uint8))


def _dashed(strip: Strip, stripe: Stripe) -> np.ndarray:
    """How much of each column the stripe covers, (columns,) float32."""
    columns = strip.image.shape[1]
    if not stripe.dash_m:
        return np.ones(columns, np.float32)
    period = strip.period_px(stripe.dash_m + stripe.gap_m)
    return dashes(columns, period, period * stripe.dash_m / (stripe.dash_m + stripe.gap_m))
