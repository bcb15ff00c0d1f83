"""Every renderer is the same camera: deterministic, and like PyBullet's own picture of the same scene."""

from dataclasses import replace
from itertools import product
from pkgutil import resolve_name

import numpy as np
import pytest

from benchmarks.likeness import ssim
from sim.look import Look
from sim.renderers import RENDERERS
from sim.routes import make_road
from sim.spec import CameraSpec
from sim.surface import Surface, draw_surface

CAMERA = CameraSpec()
NEAREST_ROW = 24  # rows above see more than 15 m away, where a line is less than half a pixel wide
ASPHALT, PAINT = 99.0, 224.0  # how bright they are
ROADS = [make_road(2**30 + seed) for seed in range(20)]
RNG = np.random.default_rng(0)
STARTS = RNG.uniform((2, -0.6, -0.2), (245, 0.6, 0.2), (len(ROADS), 10, 3)).tolist()
HORIZON_ROW = 19
FAST = [name for name in RENDERERS if name != "bullet"]


def surface(road) -> Surface:
    return draw_surface(road, Look(seed=road.seed))


def pose(road, distance_m: float, left_m: float, error_rad: float) -> tuple[float, float, float]:
    x, y, yaw = road.pose(distance_m, left_m)
    return x, y, yaw + error_rad


def pictures(name: str, camera: CameraSpec = CAMERA) -> np.ndarray:
    """What that renderer shows of the two hundred scenes, (200, height, width, 3)."""
    shown = []
    for road, starts in zip(ROADS, STARTS, strict=True):
        renderer = resolve_name(RENDERERS[name])(surface(road), camera)
        shown += [renderer.render(pose(road, *start)) for start in starts]
        renderer.close()
    return np.array(shown)


@pytest.fixture(scope="module")
def shown():
    return {name: pictures(name) for name in RENDERERS}


def line_edges(picture: np.ndarray) -> dict[int, list[float]]:
    """Where painted lines begin and end in each row that shows all of them, in columns to a part."""
    grey = picture.astype(float).mean(axis=2)
    threshold = (ASPHALT + PAINT) / 2
    edges = {}
    for row in range(NEAREST_ROW, len(grey)):
        changes = np.flatnonzero(np.diff(grey[row] > threshold))
        if len(changes) and len(changes) % 2 == 0 and np.diff(changes)[::2].max() < 8:  # one that crosses has no edges
            edges[row] = [crossing(grey[row], left, threshold) for left in changes]
    return edges


def crossing(row: np.ndarray, left: int, threshold: float) -> float:
    """The column between `left` and the next at which brightness passes the threshold."""
    return left + (threshold - row[left]) / (row[left + 1] - row[left])


@pytest.mark.parametrize(("name", "size"), list(product(RENDERERS, [(64, 64), (160, 80)])))
def test_a_picture_is_rgb_bytes_of_the_cameras_size(name, size):
    width, height = size
    camera = replace(CAMERA, width_px=width, height_px=height)
    renderer = resolve_name(RENDERERS[name])(surface(ROADS[0]), camera)
    picture = renderer.render(pose(ROADS[0], *STARTS[0][0]))
    renderer.close()
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("name", RENDERERS)
def test_the_same_scene_gives_the_same_picture_bit_for_bit(name, shown):
    assert np.array_equal(pictures(name), shown[name])


@pytest.mark.parametrize("name", RENDERERS)
def test_a_picture_is_the_callers_own(name):
    renderer = resolve_name(RENDERERS[name])(surface(ROADS[0]), CAMERA)
    first = renderer.render(pose(ROADS[0], *STARTS[0][0]))
    kept = first.copy()
    renderer.render(pose(ROADS[0], *STARTS[0][1]))
    renderer.close()
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("name", FAST)
def test_it_looks_like_pybullets_picture(name, shown):
    likeness = [ssim(a, b) for a, b in zip(shown[name], shown["bullet"], strict=True)]
    ground = [ssim(a[HORIZON_ROW:], b[HORIZON_ROW:]) for a, b in zip(shown[name], shown["bullet"], strict=True)]
    assert np.mean(likeness) >= 0.95
    assert min(likeness) >= 0.93
    assert np.mean(ground) >= 0.95  # they share the sky


@pytest.mark.parametrize("name", FAST)
def test_lines_are_within_a_pixel_of_pybullets(name, shown):
    apart_px = []
    for ours, reference in zip(shown[name], shown["bullet"], strict=True):
        ours, reference = line_edges(ours), line_edges(reference)
        for row in ours.keys() & reference.keys():
            if len(ours[row]) == len(reference[row]):  # else one of them has lost a far line between its samples
                apart_px += np.subtract(ours[row], reference[row]).tolist()
    assert len(apart_px) > 10_000
    assert np.abs(np.mean(apart_px)) < 0.1
    assert np.quantile(np.abs(apart_px), 0.99) <= 1.0
