"""The planar camera is a pinhole camera."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.look import Look
from sim.optics import sky
from sim.renderers.planar import PlanarRenderer
from sim.spec import CameraSpec
from sim.strip import Strip
from sim.surface import Surface, draw_surface
from tests.sim.renderers.pinhole import project
from tests.sim.scenes import ring, straight

GRASS = (92, 122, 58)
PIXELS_PER_M, CELL_M = 10.0, 0.5
CAMERA = CameraSpec()
WIDE = CameraSpec(width_px=160, height_px=90, fov_rad=math.radians(100), x_m=0.1, pitch_rad=math.radians(35))
poses = st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(-math.pi, math.pi))


def flat(image: np.ndarray) -> Surface:
    """A square surface around the origin that is no road: columns grow with x, rows with y."""
    side_m = len(image) / PIXELS_PER_M
    strip = Strip(image, straight(), Look(), PIXELS_PER_M, PIXELS_PER_M, side_m / 2)
    cells = np.arange(round(side_m / CELL_M) + 1) * CELL_M * PIXELS_PER_M - 0.5
    grid = np.array(np.meshgrid(cells, cells), np.float32)
    return Surface(strip, grid, (-side_m / 2, -side_m / 2), CELL_M)


def meadow() -> Surface:
    """Forty metres square around the origin."""
    return flat(np.full((400, 400, 4), (*GRASS, 255), np.uint8))


def atlas(size_m: float = 160.0) -> Surface:
    """A surface whose every pixel holds its own place in metres: red is x and green is y."""
    along = (np.arange(size_m * PIXELS_PER_M) + 0.5) / PIXELS_PER_M - size_m / 2
    x, y = np.meshgrid(along, along)
    return flat(np.stack([x, y, 0 * x, 0 * x], axis=2).astype(np.float32))


ATLAS = atlas()


def test_the_horizon_is_where_the_pitch_puts_it():
    # f = 32 / tan 40° = 38.14 px; the horizon lies f·tan 20° = 13.88 px above the middle, at row 18.12. Row 18 sees
    # the ground beyond 60 m, the middle of row 19 sees it 13.88 - 12.5 = 1.38 px below the horizon, 38 m away.
    picture = PlanarRenderer(meadow(), CAMERA).render((0.0, 0.0, 0.0))
    assert np.array_equal(picture[:19], sky(CAMERA)[:19])
    assert np.array_equal(picture[19], np.full((64, 3), GRASS))


@pytest.mark.parametrize("camera", [CAMERA, WIDE], ids=["default", "wide"])
@settings(max_examples=10)
@given(pose=poses)
def test_every_pixel_sees_the_place_that_projects_to_it(camera, pose):
    picture = PlanarRenderer(ATLAS, camera).render(pose)
    rows, columns = np.mgrid[30 : camera.height_px, 0 : camera.width_px : 3]
    seen_m = picture[rows.ravel(), columns.ravel(), :2]
    expected = np.column_stack([columns.ravel(), rows.ravel()]) + 0.5
    assert project(seen_m, pose, camera) == pytest.approx(expected, abs=0.01)


@given(pose=poses, ahead_m=st.floats(2.5, 4.0), left_m=st.floats(-0.8, 0.8))
def test_a_mark_on_the_ground_appears_where_the_equations_say(pose, ahead_m, left_m):
    x, y, yaw = pose
    mark_m = np.array([[x + ahead_m * math.cos(yaw) - left_m * math.sin(yaw),
                        y + ahead_m * math.sin(yaw) + left_m * math.cos(yaw)]])  # fmt: skip
    surface = meadow()
    centre = np.round(((mark_m[0] + 20) * PIXELS_PER_M - 0.5) * 16).astype(int).tolist()
    cv2.circle(surface.strip.image, centre, 16, (255, 0, 0), -1, cv2.LINE_AA, shift=4)  # 0.1 m
    picture = PlanarRenderer(surface, CAMERA).render(pose)
    red = np.clip(picture[..., 0].astype(float) - GRASS[0], 0, None)
    red[:19] = 0
    rows, columns = np.mgrid[0:64, 0:64] + 0.5
    centroid = [np.average(columns, weights=red), np.average(rows, weights=red)]
    assert centroid == pytest.approx(project(mark_m, pose, CAMERA)[0], abs=0.4)  # near things draw the centroid down


def test_beyond_the_surface_is_grass():
    picture = PlanarRenderer(meadow(), CAMERA).render((500.0, 0.0, 0.0))
    assert np.array_equal(picture[40], np.full((64, 3), GRASS))


def test_a_lap_ends_where_the_next_begins_without_a_seam():
    """Dashes between lanes: before the start, through it and after it the same picture to within a dash's shift."""
    surface = draw_surface(ring(30.0), Look())
    road, sharp = surface.road, []
    for before_m in (60.0, 10.0, 5.0, 2.0):
        picture = PlanarRenderer(surface, CAMERA).render(road.pose(road.length_m - before_m)).astype(float)
        sharp.append(np.abs(np.diff(picture[19:], axis=0)).mean())
    assert max(sharp) < 1.1 * sharp[0]
