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

CELL_M = 0.5  # of the grid, at full size; in the tightest bend interpolating across a cell is 2 mm off
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
    width, height = np.ceil((high - low) / cell).astype(int) + 1
    reach, nearest = _nearest_points(road, low, cell, (height, width))
    grid = np.full((2, height, width), NOWHERE, np.float32)
    cells = np.flatnonzero(reach < strip.half_m / cell + 1)
    y, x = np.divmod(cells.astype(np.int32), width)
    grid.reshape(2, -1)[:, cells] = _unroll(strip, _metres(x, low[0], cell), _metres(y, low[1], cell), nearest[cells])
    _cut_seams(grid[1], 1.5 * cell * strip.across_ppm)
    lap = strip.image.shape[1] - strip.overlap
    next_lap = np.where(grid[0] < strip.overlap, grid[0] + lap, grid[0]) if road.closed else None
    return Surface(strip, grid, (float(low[0]), float(low[1])), cell, next_lap)


def _metres(cell: np.ndarray, low_m: float, cell_m: float) -> np.ndarray:
    return np.float32(low_m) + cell.astype(np.float32) * np.float32(cell_m)


def _nearest_points(
    road: Road, low: np.ndarray, cell_m: float, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """For each cell how many cells away the road is and about which point is the nearest."""
    column, row = np.round((road.xy_m - low) / cell_m).astype(np.int32).T
    away = np.ones(shape, np.uint8)
    away[row, column] = 0
    distance, labels = cv2.distanceTransformWithLabels(
        away, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels = labels.astype(np.int32, copy=False)
    point = np.zeros(labels.max() + 1, np.int32)
    point[labels[row, column]] = np.arange(len(road.xy_m))
    return distance.ravel(), point[labels].ravel()


def _unroll(strip: Strip, x_m: np.ndarray, y_m: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Project places onto the road from about the nearest points; returns columns and rows of the strip, (2, n).

    Around its point the road is an arc of curvature κ: a place `left` of it is passed 1/(1 − κ·left) times as fast
    as the centre, and the arc leaves its tangent by κs²/2.
    """
    road = strip.road
    table = np.stack([*road.xy_m.T, *road.tangent.T, road.curvature_1pm]).astype(np.float32)
    x0, y0, cos, sin, curvature = table[:, nearest]
    dx, dy = x_m - x0, y_m - y0
    tangential, left = dx * cos + dy * sin, dy * cos - dx * sin
    along = tangential / np.maximum(1 - curvature * left, LEAST_NARROWING)
    column, row = strip.to_pixels(nearest * np.float32(road.step_m) + along, left - curvature / 2 * tangential * along)
    return np.stack([column, row]) - 0.5


def _cut_seams(row: np.ndarray, jump_px: float) -> None:
    """Where two stretches of road meet, half-way between them, the row jumps: nothing may be interpolated there.

    Across the strip no place is farther from its neighbour than a cell is wide; along it a jump does no harm, as
    what lies between is drawn at the right distance from the centreline.
    """
    across, up = np.abs(np.diff(row, axis=1)) > jump_px, np.abs(np.diff(row, axis=0)) > jump_px
    seam = np.zeros(row.shape, bool)
    seam[:, 1:] |= across
    seam[:, :-1] |= across
    seam[1:] |= up
    seam[:-1] |= up
    row[seam] = NOWHERE
