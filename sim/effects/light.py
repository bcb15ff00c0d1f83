"""How a road is lit: shadows of the trees beside it, the colour of the sun, dusk."""

import math
from functools import cache

import cv2
import numpy as np

from sim.effects.stamps import Pavement
from sim.materials import noise
from sim.strip import Strip

TREE_PX = (80, 96)  # of a silhouette: across the shadow, along it
TREES = 6
SHADE = (0.54, 0.52, 0.45, 0)  # what a full shadow takes from each channel: the sky lights it, and the sky is blue
ROWS_AT_ONCE = 16  # so many of them and their light stay in the cache

Turn = tuple[tuple[float, float], tuple[float, float]]  # the matrix from a silhouette's pixels to a strip's


@cache
def tree(number: int) -> np.ndarray:
    """A tree's silhouette, its foot in the middle of the left edge, TREE_PX uint8: 255 is full shadow."""
    height, width = TREE_PX
    y, x = np.mgrid[-1 : 1 : height * 1j, 0 : 1 : width * 1j]
    from_crown = np.hypot(y / 0.97, (x - 0.6) / 0.39)
    mottle = noise(1.0)[32 * number :][: 2 * height, 131 * number :][:, :width]
    leaves = cv2.resize(mottle, (width, height), interpolation=cv2.INTER_AREA)  # its pixels are oblong
    crown = np.clip(2.2 * (0.85 - from_crown) + 0.8 * (leaves - leaves.mean()) / leaves.std(), 0, 1) * (from_crown < 1)
    trunk = np.clip(2.5 - 40 * np.abs(y), 0, 1) * (x < 0.6)
    return cv2.GaussianBlur((255 * np.maximum(crown, trunk)).astype(np.uint8), (5, 5), 0)


def cast_tree_shadows(strip: Strip, strength: float, rng: np.random.Generator) -> None:
    """Let the trees on the sunny side throw dappled shadows towards the road, and over it where the sun stands so."""
    road, unit = strip.road, strip.road.unit_m
    pavement = Pavement(strip)
    count = round(pavement.length_m / 19)
    columns = rng.integers(pavement.columns, size=count)
    beside_m = rng.uniform(1.0, 3.5, count) * unit
    heights_m = rng.uniform(5.0, 11.0, count) * unit
    shadow_m = heights_m / math.tan(rng.uniform(math.radians(28), math.radians(55)))
    points = np.minimum(columns / strip.along_ppm / road.step_m, len(road.yaw_rad) - 1).astype(int)
    away = strip.look.sun_azimuth_rad + math.pi - road.yaw_rad[points]
    right, left = (edge[points] for edge in road.pavement)
    feet_m = np.where(np.sin(away) < 0, left + beside_m, right - beside_m)
    _, rows = strip.to_pixels(columns / strip.along_ppm, feet_m)
    outermost = round(unit * strip.across_ppm)  # stays plain
    inner = strip.image[outermost:-outermost]
    shadow = np.zeros(inner.shape[:2], np.uint8)
    for number in range(count):
        turn = _lie_down(strip, float(away[number]), float(shadow_m[number]), 0.75 * float(heights_m[number]))
        foot = float(columns[number]), float(rows[number]) - outermost
        _cast(inner, shadow, tree(number % TREES), turn, foot, strength)


def _lie_down(strip: Strip, away_rad: float, length_m: float, width_m: float) -> Turn:
    """What turns and stretches a silhouette into a shadow so long and wide in a direction of the road's."""
    along, across = length_m / TREE_PX[1], width_m / TREE_PX[0]
    cos, sin = math.cos(away_rad), math.sin(away_rad)
    right_px, down_px = strip.along_ppm, strip.across_ppm
    return (along * cos * right_px, -across * sin * right_px), (-along * sin * down_px, -across * cos * down_px)


def _cast(
    image: np.ndarray,
    shadow: np.ndarray,
    silhouette: np.ndarray,
    turn: Turn,
    foot: tuple[float, float],
    strength: float,
) -> None:
    """Darken the image under a silhouette laid down from foot (column, row) by what it adds to the shadow (h, w)."""
    height, width = silhouette.shape
    (a, b), (c, d) = turn
    x, y = foot[0] - b * height / 2, foot[1] - d * height / 2  # of its upper left corner
    left, right = _span(x, a * width, b * height, shadow.shape[1])
    top, bottom = _span(y, c * width, d * height, shadow.shape[0])
    if left >= right or top >= bottom:
        return
    here = slice(top, bottom), slice(left, right)
    matrix, size = np.array([(a, b, x - left), (c, d, y - top)]), (right - left, bottom - top)
    cast = cv2.warpAffine(silhouette, matrix, size, flags=cv2.INTER_NEAREST)  # it is soft already
    added = cv2.subtract(cast, shadow[here])  # where two shadows meet it is no darker than in one
    shadow[here] += added
    light = cv2.merge([cv2.convertScaleAbs(added, alpha=-strength * taken, beta=255) for taken in SHADE])
    cv2.multiply(image[here], light, dst=image[here], scale=1 / 255)


def _span(corner: float, one: float, other: float, size: int) -> tuple[int, int]:
    """The first pixel, of so many, of what reaches from a corner by one side and by the other, and that after it."""
    first, last = corner + min(one, 0) + min(other, 0), corner + max(one, 0) + max(other, 0)
    return max(math.floor(first), 0), min(math.ceil(last), size)


def tint(strip: Strip, strength: float, rng: np.random.Generator) -> None:
    """Let the sunlight be warm or cold."""
    warm, cold = np.array([1.1, 1.0, 0.83]), np.array([0.9, 0.98, 1.08])
    _light(strip.image, 1 + strength * ((warm if rng.random() < 0.5 else cold) - 1))


def darken(strip: Strip, strength: float, rng: np.random.Generator) -> None:
    """Take the day's light from the ground, its warm part first."""
    _light(strip.image, 1 - strength * np.array([0.42, 0.39, 0.32]) * rng.uniform(0.85, 1.0))


def _light(image: np.ndarray, gains: np.ndarray) -> None:
    """Multiply the channels by gains (3,), below 2, in place."""
    row = np.tile(np.round(128 * np.append(gains, 1.0)).astype(np.uint8), (ROWS_AT_ONCE, image.shape[1], 1))
    light = row.reshape(ROWS_AT_ONCE, -1, 4)
    for first in range(0, len(image), ROWS_AT_ONCE):
        ground = image[first : first + ROWS_AT_ONCE]
        cv2.multiply(ground, light[: len(ground)], dst=ground, scale=1 / 128)
