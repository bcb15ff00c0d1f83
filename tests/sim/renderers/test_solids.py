"""Things on the road are drawn where an independent camera sees them, and hide what they stand before."""

import math
from itertools import pairwise, permutations, product

import cv2
import numpy as np
import pybullet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.obstacles import KINDS, Solid
from sim.renderers.bullet import BulletSolids
from sim.renderers.forms import form_of
from sim.renderers.solids import draw_solids
from sim.spec import CameraSpec

CAMERA = CameraSpec(width_px=160, height_px=120, yaw_rad=0.1, pitch_rad=0.3)
POSE = (3.0, -2.0, 0.5)
RED, GREEN = (250, 0, 0), (0, 250, 0)


def box(ahead_m: float, left_m: float, turn_rad: float, *size_m: float, colour=RED) -> Solid:
    """A box as seen from POSE."""
    x, y, yaw = POSE
    cos, sin = math.cos(yaw), math.sin(yaw)
    place = x + ahead_m * cos - left_m * sin, y + ahead_m * sin + left_m * cos
    return Solid("box", *place, yaw + turn_rad, *size_m, colour)


def of_kind(kind: str, x_m: float, y_m: float, yaw_rad: float = 0.0) -> Solid:
    return Solid(kind, x_m, y_m, yaw_rad, *KINDS[kind].sizes_m[0], KINDS[kind].colours[0])


def drawn(camera: CameraSpec, *solids: Solid, pose=POSE, background: int = 0) -> np.ndarray:
    image = np.full((camera.height_px, camera.width_px, 3), background, np.uint8)
    draw_solids(image, camera, pose, solids)
    return image


def covered(camera: CameraSpec, *solids: Solid, pose=POSE) -> np.ndarray:
    """What share of each pixel they cover, from 0 to 1: how little of the background shines through."""
    black, white = (drawn(camera, *solids, pose=pose, background=level).astype(float) for level in (0, 255))
    return 1 - (white - black).mean(axis=2) / 255


def view_matrix(camera: CameraSpec, pose=POSE) -> list[float]:
    x, y, yaw = pose
    eye = [x + camera.x_m * math.cos(yaw), y + camera.x_m * math.sin(yaw), camera.height_m]
    gaze, level = yaw + camera.yaw_rad, math.cos(camera.pitch_rad)
    ahead = [level * math.cos(gaze), level * math.sin(gaze), -math.sin(camera.pitch_rad)]
    return pybullet.computeViewMatrix(eye, np.add(eye, ahead).tolist(), [0, 0, 1])


def projection(camera: CameraSpec, shift_px: float = 0.0) -> list[float]:
    near_m = 0.05
    right, up = (
        [(side * pixels / 2 + shift_px) / camera.focal_px * near_m for side in (-1, 1)]
        for pixels in (camera.width_px, camera.height_px)
    )
    return pybullet.computeProjectionMatrix(*right, *up, near_m, 100.0)


def corners_px(solid: Solid, camera: CameraSpec) -> np.ndarray:
    """A box's corners by OpenGL's homogeneous matrices, (8, 2) (column, row), 0.5 being a pixel's middle."""
    cos, sin = math.cos(solid.yaw_rad), math.sin(solid.yaw_rad)
    local = np.array(list(product((-0.5, 0.5), (-0.5, 0.5), (0, 1)))) * solid[4:7]
    world = local @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) + (solid.x_m, solid.y_m, 0)
    view, project = (np.array(m).reshape(4, 4) for m in (view_matrix(camera), projection(camera)))  # column-major
    clip = np.column_stack([world, np.ones(8)]) @ view @ project
    unit = clip[:, :2] / clip[:, 3:]
    return (unit * (1, -1) + 1) / 2 * (camera.width_px, camera.height_px)


def hull_mask(points_px: np.ndarray, camera: CameraSpec, margin_px: float) -> np.ndarray:
    """Pixels whose middle lies within the points' convex hull, or up to that margin beyond or (negative) inside it."""
    hull = cv2.convexHull(points_px.astype(np.float32))
    middles = product(np.arange(camera.height_px) + 0.5, np.arange(camera.width_px) + 0.5)
    inside = [cv2.pointPolygonTest(hull, (column, row), True) >= -margin_px for row, column in middles]
    return np.reshape(inside, (camera.height_px, camera.width_px))


boxes = st.builds(
    box,
    st.floats(3.5, 20),
    st.floats(-2, 2),
    st.floats(-math.pi, math.pi),
    *[st.floats(0.5, 2)] * 3,
)


@given(boxes)
@settings(max_examples=15)
def test_a_box_is_where_homogeneous_matrices_put_it_within_a_pixel(solid):
    shown, corners = covered(CAMERA, solid) > 0.5, corners_px(solid, CAMERA)
    inner = slice(1, -1)  # where a box leaves the picture its corner may be a pixel and a half off
    assert not (shown & ~hull_mask(corners, CAMERA, 1.0))[inner, inner].any()
    assert not (hull_mask(corners, CAMERA, -1.0) & ~shown)[inner, inner].any()


def tiny_mask(*solids: Solid, camera: CameraSpec = CAMERA) -> np.ndarray:
    """Which of the boxes PyBullet's own renderer sees in each pixel; -1 none."""
    client = pybullet.connect(pybullet.DIRECT)
    for solid in solids:
        half = [size / 2 for size in solid[4:7]]
        shape = pybullet.createVisualShape(pybullet.GEOM_BOX, halfExtents=half, physicsClientId=client)
        turn = pybullet.getQuaternionFromEuler([0, 0, solid.yaw_rad])
        place = [solid.x_m, solid.y_m, half[2]]
        pybullet.createMultiBody(0, -1, shape, place, turn, physicsClientId=client)
    mask = segmentation(client, camera)
    pybullet.disconnect(client)
    return mask


def look(client: int, camera: CameraSpec) -> tuple[np.ndarray, np.ndarray]:
    """TinyRenderer's picture, (h, w, 3), and which body is where, (h, w).

    It looks through a pixel's lower left corner: moved by half a pixel to its middle.
    """
    *_, rgba, _, bodies = pybullet.getCameraImage(
        camera.width_px,
        camera.height_px,
        view_matrix(camera),
        projection(camera, shift_px=0.5),
        shadow=0,
        lightAmbientCoeff=1.0,
        lightDiffuseCoeff=0.0,
        lightSpecularCoeff=0.0,
        renderer=pybullet.ER_TINY_RENDERER,
        physicsClientId=client,
    )
    size = (camera.height_px, camera.width_px)
    return np.reshape(rgba, (*size, 4))[..., :3].astype(int), np.reshape(bodies, size)


def segmentation(client: int, camera: CameraSpec) -> np.ndarray:
    return look(client, camera)[1]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(
    "solid",
    [
        pytest.param(box(3.0, 0.3, 0.2, 1.0, 0.8, 0.8), id="near"),
        pytest.param(box(15.0, -1.0, 0.0, 1.0, 1.2, 1.0), id="far"),
        pytest.param(box(6.0, 1.0, 0.7, 2.0, 0.6, 0.5), id="turned"),
        pytest.param(box(3.0, -2.2, 0.3, 1.5, 0.8, 0.9), id="over the picture's edge"),
        pytest.param(box(1.3, 0.0, 0.1, 0.4, 0.4, 0.4), id="before the bumper"),
        pytest.param(box(1.2, -1.6, 0.0, 4.0, 1.0, 1.0), id="beside, partly behind the camera"),
    ],
)
def test_a_box_covers_what_pybullet_sees_of_it(solid):
    seen = tiny_mask(solid) >= 0
    assert seen.sum() > 30
    assert overlap(covered(CAMERA, solid) > 0.5, seen) >= 0.9


LARGE, SMALL = (8.0, 0.5, 0.2, 3.0, 1.6, 1.5), (4.0, 0.0, 0.4, 0.8, 0.8, 0.8)


def test_a_near_box_hides_a_far_one_as_in_pybullet():
    bodies = tiny_mask(box(*LARGE), box(*SMALL))
    image = drawn(CAMERA, box(*SMALL, colour=GREEN), box(*LARGE, colour=RED))
    assert overlap(image[..., 0] > 100, bodies == 0) >= 0.9
    assert overlap(image[..., 1] > 100, bodies == 1) >= 0.9
    assert (bodies == 0).sum() < 0.9 * (tiny_mask(box(*LARGE)) == 0).sum()  # it does hide a part


def test_the_nearest_of_three_hides_the_others_in_whatever_order_they_come():
    row = [box(ahead_m, 0.0, 0.2, 1.0, 1.0, height_m) for ahead_m, height_m in ((4.0, 0.6), (8.0, 1.2), (13.0, 2.5))]
    bodies = tiny_mask(*row)
    painted = [solid._replace(colour=colour) for solid, colour in zip(row, (RED, GREEN, (0, 0, 250)), strict=True)]
    for order in permutations(painted):
        image = drawn(CAMERA, *order)
        for body in range(3):
            assert overlap(image[..., body] > 100, bodies == body) >= 0.8


def test_a_car_ahead_hides_a_parked_one_though_its_middle_is_further_away():
    lead, parked = box(6.0, 0.0, 0.0, 4.5, 1.8, 1.45), box(5.0, -2.2, 0.0, 4.5, 1.8, 1.45)
    bodies = tiny_mask(lead, parked)
    for order in permutations([lead._replace(colour=GREEN), parked]):
        image = drawn(CAMERA, *order)
        assert overlap(image[..., 1] > 100, bodies == 0) >= 0.93  # by their middles' distance 0.87
        assert overlap(image[..., 0] > 100, bodies == 1) >= 0.93


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [(-10.0, 0.0), (4.0, 20.0), (4.0, -20.0), (61.0, 0.0)])
def test_what_is_behind_beside_or_too_far_is_not_drawn(kind, place):
    assert not covered(CameraSpec(), of_kind(kind, *place), pose=(0.0, 0.0, 0.0)).any()


def test_how_far_is_the_caller_s_choice():
    image, solid = drawn(CameraSpec()), of_kind("parked car", 8.0, 0.0)
    draw_solids(image, CameraSpec(), (0.0, 0.0, 0.0), [solid], far_m=6.0)
    assert not image.any()
    draw_solids(image, CameraSpec(), (0.0, 0.0, 0.0), [solid], far_m=9.0)
    assert image.any()


@given(st.sampled_from(list(KINDS)), st.floats(-5, 5), st.floats(-5, 5), st.floats(-4, 4))
@settings(max_examples=200)
def test_from_anywhere_even_from_within_nothing_explodes(kind, x, y, yaw):
    image = drawn(CameraSpec(), of_kind(kind, 0.0, 0.0), pose=(x, y, yaw))
    ahead, left = -x * math.cos(yaw) - y * math.sin(yaw), x * math.sin(yaw) - y * math.cos(yaw)
    if ahead < -2.0:  # a car is 1.6 m from its middle to a corner, the camera stands 0.7 m further ahead
        assert not image.any()
    if ahead > 4 and abs(left) < 1:
        assert image.any()


def test_a_tenth_of_the_size_a_tenth_as_far_looks_the_same():
    small = CameraSpec(x_m=0.07, height_m=0.13)
    for kind in KINDS:
        solid = of_kind(kind, 6.0, 1.0, 0.4)
        shrunk = Solid(kind, 0.6, 0.1, 0.4, *(size / 10 for size in solid[4:7]), solid.colour)
        large = drawn(CameraSpec(), solid, pose=(0.0, 0.0, 0.0)).astype(int)
        assert np.abs(large - drawn(small, shrunk, pose=(0.0, 0.0, 0.0))).max() <= 12  # rounded to 1/16 pixel


@pytest.mark.parametrize("kind", KINDS)
def test_a_thing_keeps_within_its_measures_and_fills_them(kind):
    size = KINDS[kind].sizes_m[0]
    corners = form_of(kind, *size, (200, 100, 50)).corners[:, :3]
    spread = corners.max(axis=0) - corners.min(axis=0)
    assert spread == pytest.approx(size, rel=0.03)
    assert corners[:, 2].min() >= -1e-9


def test_a_cone_has_a_white_band_between_two_orange_ones():
    image = drawn(CameraSpec(width_px=320, height_px=320), of_kind("cone", 3.5, 0.0), pose=(0.0, 0.0, 0.0))
    column = image[image.any(axis=(1, 2)), 160].astype(int)
    names = ["white" if blue > 120 else "orange" if red > 150 else "dark" for red, _, blue in column]
    bands = [name for name, following in pairwise([*names, ""]) if name != following]
    assert [band for band in bands if band != "dark"] == ["orange", "white", "orange"]


def test_a_parked_car_shows_red_lamps_from_behind_and_white_ones_from_before():
    camera = CameraSpec(width_px=320, height_px=320)
    grey = of_kind("parked car", 6.0, 0.0)._replace(colour=(100, 100, 100))
    rear, front = (
        drawn(camera, grey._replace(yaw_rad=yaw), pose=(0.0, 0.0, 0.0)).astype(int) for yaw in (0.0, math.pi)
    )
    assert ((rear[..., 0] > 140) & (rear[..., 1] < 40)).sum() > 50
    assert not ((front[..., 0] > 140) & (front[..., 1] < 40)).any()
    assert (front.min(axis=2) > 140).sum() > 50


@pytest.fixture
def client():
    client = pybullet.connect(pybullet.DIRECT)
    yield client
    pybullet.disconnect(client)


@pytest.mark.parametrize("kind", KINDS)
def test_pybullet_shows_the_same_thing(client, kind):
    solid = box(3.2, 0.2, 0.4, *KINDS[kind].sizes_m[0])._replace(kind=kind)
    BulletSolids(client).show([solid])
    least = 0.8 if kind == "cone" else 0.9  # its tip is drawn up to half a pixel too wide
    assert overlap(covered(CAMERA, solid) > 0.5, segmentation(client, CAMERA) >= 0) >= least


@pytest.mark.parametrize("eye_m", [0.3, 1.3])  # below a car's waist and above it
@pytest.mark.parametrize("turn_rad", [0.3, 2.0, -2.5])
def test_a_car_has_its_colours_where_a_depth_buffer_has_them(client, eye_m, turn_rad):
    camera = CameraSpec(width_px=320, height_px=240, height_m=eye_m, pitch_rad=0.0)
    car = box(4.0, 0.0, turn_rad, *KINDS["parked car"].sizes_m[1], colour=(60, 90, 200))._replace(kind="parked car")
    BulletSolids(client).show([car])
    picture, bodies = look(client, camera)
    alike = np.abs(drawn(camera, car) - picture).max(axis=2) < 24
    within = cv2.erode((bodies >= 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert alike[within].mean() > 0.93  # edges are smooth, and TinyRenderer's are not


def test_pybullet_shows_only_what_is_there_now_and_makes_no_more_bodies_for_it(client):
    shown, here, there = BulletSolids(client), box(5.0, 1.5, 0, 1, 1, 1), box(5.0, -1.5, 0, 1, 1, 1)
    shown.show([here])
    left = segmentation(client, CAMERA) >= 0
    shown.show([there])
    right = segmentation(client, CAMERA) >= 0
    assert left.any()
    assert right.any()
    assert not (left & right).any()
    shown.show([])
    assert not (segmentation(client, CAMERA) >= 0).any()
    assert pybullet.getNumBodies(client) == 1
