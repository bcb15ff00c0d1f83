"""Every renderer is the same camera: deterministic, and like PyBullet's own picture of the same scene."""

from dataclasses import replace
from itertools import product
from pkgutil import resolve_name

import cv2
import numpy as np
import pytest

from sim.renderers import RENDERERS
from sim.road import make_road
from sim.spec import CameraSpec
from sim.surface import ASPHALT, PAINT, draw_surface

CAMERA = CameraSpec()
NEAREST_ROW = 24  # rows above see more than 15 m away, where a line is less than half a pixel wide
ROADS = [make_road(seed, 120.0) for seed in range(4)]
STARTS = [(4.0, 0.0, 0.0), (30.0, 0.5, -0.15), (55.0, -0.5, 0.15), (80.0, 0.2, 0.1), (105.0, -0.3, -0.1)]


def pose(road, distance_m: float, left_m: float, error_rad: float) -> tuple[float, float, float]:
    x, y, yaw = road.pose(distance_m, left_m)
    return x, y, yaw + error_rad


def pictures(name: str, camera: CameraSpec = CAMERA) -> np.ndarray:
    """What that renderer shows of the twenty scenes, (20, height, width, 3)."""
    shown = []
    for road in ROADS:
        renderer = resolve_name(RENDERERS[name])(draw_surface(road), camera)
        shown += [renderer.render(pose(road, *start)) for start in STARTS]
        renderer.close()
    return np.array(shown)


@pytest.fixture(scope="module")
def shown():
    return {name: pictures(name) for name in RENDERERS}


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of two RGB pictures' grey, Gaussian window of σ 1.5 (Wang 2004, eq. 13)."""
    a, b = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(float) for picture in (a, b))
    mean_a, mean_b, square_a, square_b, product_ab = (
        cv2.GaussianBlur(image, (11, 11), 1.5) for image in (a, b, a * a, b * b, a * b)
    )
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    variances = square_a - mean_a**2 + square_b - mean_b**2
    covariance = product_ab - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((likeness / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))).mean())


def right_line(picture: np.ndarray) -> dict[int, tuple[float, float]]:
    """Where the rightmost painted line begins and ends in each row that shows all of it, in columns to a part."""
    grey = picture.astype(float).mean(axis=2)
    threshold = (np.mean(ASPHALT) + np.mean(PAINT)) / 2
    lines = {}
    for row in range(NEAREST_ROW, len(grey)):
        painted = np.flatnonzero(grey[row] > threshold)
        if len(painted) == 0 or painted[-1] == grey.shape[1] - 1:
            continue
        last = painted[-1]
        first = last - np.argmin(np.append((grey[row] > threshold)[last::-1], False)) + 1
        if first > 0 and last - first < 8:  # a line that crosses the picture has no edges in a row
            lines[row] = (crossing(grey[row], first - 1, threshold), crossing(grey[row], last, threshold))
    return lines


def crossing(row: np.ndarray, left: int, threshold: float) -> float:
    """The column between `left` and the next at which brightness passes the threshold."""
    return left + (threshold - row[left]) / (row[left + 1] - row[left])


@pytest.mark.parametrize(("name", "size"), list(product(RENDERERS, [(64, 64), (160, 80)])))
def test_a_picture_is_rgb_bytes_of_the_cameras_size(name, size):
    width, height = size
    camera = replace(CAMERA, width_px=width, height_px=height)
    renderer = resolve_name(RENDERERS[name])(draw_surface(ROADS[0]), camera)
    picture = renderer.render(pose(ROADS[0], *STARTS[0]))
    renderer.close()
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("name", RENDERERS)
def test_the_same_scene_gives_the_same_picture_bit_for_bit(name, shown):
    assert np.array_equal(pictures(name), shown[name])


@pytest.mark.parametrize("name", RENDERERS)
def test_a_picture_is_the_callers_own(name):
    renderer = resolve_name(RENDERERS[name])(draw_surface(ROADS[0]), CAMERA)
    first = renderer.render(pose(ROADS[0], *STARTS[0]))
    kept = first.copy()
    renderer.render(pose(ROADS[0], *STARTS[1]))
    renderer.close()
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("name", RENDERERS)
def test_it_looks_like_pybullets_picture(name, shown):
    likeness = [ssim(a, b) for a, b in zip(shown[name], shown["bullet"], strict=True)]
    assert np.mean(likeness) >= 0.95
    assert min(likeness) >= 0.93


@pytest.mark.parametrize("name", RENDERERS)
def test_lines_are_within_a_pixel_of_pybullets(name, shown):
    apart_px = []
    for ours, reference in zip(shown[name], shown["bullet"], strict=True):
        ours, reference = right_line(ours), right_line(reference)
        apart_px += [np.subtract(ours[row], reference[row]) for row in ours.keys() & reference.keys()]
    assert len(apart_px) > 150
    assert np.abs(np.mean(apart_px)) < 0.1
    assert np.quantile(np.abs(apart_px), 0.95) <= 1.0
