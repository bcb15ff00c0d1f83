"""The ground of a whole road: its strip, and a grid in the world that tells where in the strip each place lies.

A picture of everything around a road would be large and slow to draw; the strip holds only the road, and the
grid is coarse, as where a place lies along and across the road changes smoothly.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from sim.look import Look
from sim.road import LEAST_NARROWING, Road
from sim.strip import Strip, draw_strip

CELL_M = 1.0  # of the grid, at full size; in the tightest bend interpolating across a cell is 9 mm off
BLOCK = 2  # cells either way that share a nearest point
NOWHERE = 1e6  # a row far outside every strip, so that a blend with it is outside too


@dataclass(frozen=True)
class Surface:
    """A road's strip laid out in the world.

    grid: (2, h, w) float32, at each cell the column and the row of the strip in cv2's coordinates, which put a
    pixel's centre at a whole number; NOWHERE beyond the strip. Row and column of the grid grow with y and x. Two
    planes, as cv2 interpolates one channel exactly but rounds the place to 1/32 cell for two.
    origin_m: the centre of the first cell.
    """

    strip: Strip
    grid: np.ndarray
    origin_m: tuple[float, float]
    cell_m: float
    next_lap: np.ndarray | None = None  # (h, w) float32, the columns where a circuit's beginning is its next lap's

    @property
    def road(self) -> Road:
        return self.strip.road

    def columns_from(self, column: float, row: float) -> np.ndarray:
        """The strip's columns, (h, w), as seen from that cell: where a lap ends they jump, but behind who looks."""
        if self.next_lap is None:
            return self.grid[0]
        height, width = self.next_lap.shape
        here = self.grid[0, min(max(round(row), 0), height - 1), min(max(round(column), 0), width - 1)]
        lap = self.strip.image.shape[1] - self.strip.overlap
        return self.next_lap if lap / 2 < here < lap else self.grid[0]


def draw_surface(road: Road, look: Look) -> Surface:
    """Draw the strip and lay it out; the same road and look give the same surface."""
    strip = draw_strip(road, look)
    cell = CELL_M * road.unit_m
    low, high = road.xy_m.min(axis=0) - strip.half_m - 2 * cell, road.xy_m.max(axis=0) + strip.half_m + 2 * cell
    columns, rows = np.ceil((high - low) / cell / BLOCK).astype(int).tolist()  # of blocks
    reach_m, nearest = _nearest_points(road, low, BLOCK * cell, (rows, columns))
    blocks = np.nonzero(reach_m < strip.half_m + BLOCK * cell)
    y, x = (BLOCK * at + np.arange(BLOCK)[:, None] for at in blocks)  # of the cells, (BLOCK, blocks) each
    y = y[:, None]
    along_m, left_m = _project(road, low[0] + x * cell, low[1] + y * cell, nearest[blocks])
    grid = np.full((2, BLOCK * rows, BLOCK * columns), NOWHERE, np.float32)
    for plane, pixels in zip(grid, strip.to_pixels(along_m, left_m), strict=True):
        plane[y, x] = pixels - 0.5
    _cut_seams(grid[1], 2.5 * cell * strip.across_ppm)
    lap = strip.image.shape[1] - strip.overlap
    next_lap = np.where(grid[0] < strip.overlap, grid[0] + lap, grid[0]) if road.closed else None
    return Surface(strip, grid, (float(low[0]), float(low[1])), cell, next_lap)


def _nearest_points(
    road: Road, low: np.ndarray, block_m: float, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """For each block of cells how many metres away the road is and about which point is the nearest."""
    column, row = ((road.xy_m - low) / block_m).astype(np.int32).T
    away = np.ones(shape, np.uint8)
    away[row, column] = 0
    distance, labels = cv2.distanceTransformWithLabels(
        away, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels = labels.astype(np.int32, copy=False)
    point = np.zeros(labels.max() + 1, np.int32)
    point[labels[row, column]] = np.arange(len(road.xy_m))
    return distance * block_m, point[labels]


def _project(road: Road, x_m: np.ndarray, y_m: np.ndarray, nearest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far along the road and left of it the cells of blocks lie, (BLOCK, BLOCK, n) float32 each.

    Newton's method, as in Road.locate: a step for each block's middle from the point (n,) that is about the nearest
    to it, and from the point found a step for each cell.
    """
    distance_m = np.arange(len(road.xy_m)) * road.step_m
    table = np.stack([distance_m, *road.xy_m.T, *road.tangent.T, road.curvature_1pm]).astype(np.float32)
    x_m, y_m = x_m.astype(np.float32), y_m.astype(np.float32)
    along_m, _ = _step(table.take(nearest, axis=1), x_m.mean(axis=0), y_m.mean(axis=(0, 1)))
    nearest = np.clip(np.rint(along_m / np.float32(road.step_m)).astype(int), 0, len(road.xy_m) - 1)
    return _step(table.take(nearest, axis=1), x_m, y_m)


def _step(point: np.ndarray, x_m: np.ndarray, y_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project places onto the arc of curvature κ that the road is around a point; returns along_m, left_m.

    A place `left` of the road is passed 1/(1 − κ·left) times as fast as the centre, and the arc leaves its tangent
    by κs²/2.
    """
    at, x0, y0, cos, sin, curvature = point
    dx, dy = x_m - x0, y_m - y0
    tangential, left = dx * cos + dy * sin, dy * cos - dx * sin
    along = tangential / np.maximum(1 - curvature * left, LEAST_NARROWING)
    return at + along, left - curvature / 2 * tangential * along


def _cut_seams(row: np.ndarray, jump_px: float) -> None:
    """Where two stretches of road meet, half-way between them, the row jumps: nothing may be interpolated there.

    Elsewhere a cell's neighbours lie no farther apart across the strip than two cells are wide; along it a jump does
    no harm, as what lies between is drawn at the right distance from the centreline.
    """
    neighbours = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    row[cv2.morphologyEx(row, cv2.MORPH_GRADIENT, neighbours) > jump_px] = NOWHERE
