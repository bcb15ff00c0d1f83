"""What every effect promises: it grows from nothing with its strength, and the same generator gives the same."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pkgutil import resolve_name

import cv2
import numpy as np
import pytest

from sim.effects import CAMERA_EFFECTS, SURFACE_EFFECTS, Motion
from sim.look import Look
from sim.routes import make_road
from sim.spec import CameraSpec
from sim.strip import Strip, draw_strip

LOOK = Look(sun_azimuth_rad=0.4)
ROAD = make_road(3, 60.0)
CAMERAS = [CameraSpec(), CameraSpec(width_px=160, height_px=120), CameraSpec(width_px=84, height_px=84)]
STRENGTHS = [0.1, 0.3, 0.6, 1.0]
MOTIONS = [Motion((3.0 * frame, 0.0, 0.1 * frame), 2.8, 0.3, frame) for frame in range(8)]


def weathered(name: str, strength: float, seed: int = 5) -> Strip:
    """A plain strip with only that surface effect."""
    strip = draw_strip(ROAD, LOOK)
    resolve_name(SURFACE_EFFECTS[name])(strip, strength, np.random.default_rng(seed))
    return strip


def scene(camera: CameraSpec) -> np.ndarray:
    """A sky over a ground of soft blotches, (h, w, 3) uint8."""
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.uniform(0, 255, (camera.height_px, camera.width_px, 3)), (0, 0), 1.5)
    ground[: camera.height_px // 4] = (120, 165, 215)
    return ground.astype(np.uint8)


def filmed(name: str, strength: float, camera: CameraSpec = CAMERAS[0], seed: int = 5) -> np.ndarray:
    """What a camera with only that effect makes of a scene that stands still, (frames, h, w, 3)."""
    effect = resolve_name(CAMERA_EFFECTS[name])(strength, LOOK, camera, np.random.default_rng(seed))
    return np.array([effect(scene(camera), motion) for motion in MOTIONS])


def change(picture: np.ndarray, untouched: np.ndarray) -> float:
    return float(np.abs(picture.astype(float) - untouched).mean())


def strip_change(name: str, strength: float) -> float:
    return change(weathered(name, strength).image, draw_strip(ROAD, LOOK).image)


def film_change(name: str, strength: float) -> float:
    return change(filmed(name, strength), scene(CAMERAS[0]))


EFFECTS = [(strip_change, name) for name in SURFACE_EFFECTS] + [(film_change, name) for name in CAMERA_EFFECTS]
every_effect = pytest.mark.parametrize(("changed_by", "name"), EFFECTS)
every_surface_effect = pytest.mark.parametrize("name", SURFACE_EFFECTS)
every_camera_effect = pytest.mark.parametrize("name", CAMERA_EFFECTS)


@every_effect
def test_the_picture_changes_the_more_the_stronger_it_is(changed_by: Callable, name: str):
    changes = [changed_by(name, strength) for strength in STRENGTHS]
    assert all(weaker < stronger for weaker, stronger in pairwise(changes))
    assert changes[-1] > 0.05


@every_effect
def test_next_to_nothing_remains_of_it_without_strength(changed_by: Callable, name: str):
    assert changed_by(name, 1e-4) < 0.02


@every_effect
def test_it_is_hardly_seen_at_a_tenth_and_leaves_a_picture_at_full_strength(changed_by: Callable, name: str):
    assert changed_by(name, 0.1) < 12
    assert changed_by(name, 1.0) < 80


@every_surface_effect
def test_the_same_generator_paints_the_same(name):
    one, same, other = (weathered(name, 0.7, seed).image for seed in (1, 1, 2))
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()


@every_surface_effect
def test_a_strip_stays_opaque_and_its_outermost_metre_plain(name):
    before, after = draw_strip(ROAD, LOOK).image, weathered(name, 1.0).image
    assert (after[..., 3] == 255).all()
    outermost = np.r_[:20, -20:0]
    gains = (after[outermost, :, :3] + 1.0) / (before[outermost, :, :3] + 1.0)
    assert gains.std(axis=(0, 1)).max() < 0.02  # untouched, or lit alike everywhere


@every_surface_effect
@pytest.mark.parametrize("changes", [{"lanes": 3}, {"unit_m": 0.1}, {"length_m": 4.0}], ids=str)
def test_it_takes_wide_small_and_short_roads(name, changes):
    unit = changes.get("unit_m", 1.0)
    road = make_road(1, changes.get("length_m", 40.0), unit_m=unit)
    strip = draw_strip(replace(road, lanes=changes.get("lanes", 1)), replace(LOOK, surface={name: 1.0}))
    assert strip.image.dtype == np.uint8


@every_surface_effect
def test_it_follows_a_road_that_widens_and_closes(name):
    widths = 1.5 + 0.8 * np.sin(np.arange(len(ROAD.xy_m)) / 20)
    strip = draw_strip(replace(ROAD, left_m=widths, right_m=widths, closed=True), replace(LOOK, surface={name: 1.0}))
    assert (strip.image[..., 3] == 255).all()


@every_camera_effect
@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: f"{camera.width_px}x{camera.height_px}")
def test_a_frame_keeps_its_shape_and_type(name, camera):
    effect = resolve_name(CAMERA_EFFECTS[name])(1.0, LOOK, camera, np.random.default_rng(0))
    image = effect(scene(camera), MOTIONS[1])
    assert image.shape == (camera.height_px, camera.width_px, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


@every_camera_effect
@pytest.mark.parametrize(
    "changes", [{"pitch_rad": 1.2}, {"pitch_rad": -0.9}, {"width_px": 5, "height_px": 3}, {"height_m": 0.08}], ids=str
)
def test_it_works_for_any_camera(name, changes):
    camera = replace(CAMERAS[0], **changes)
    frames = filmed(name, 1.0, camera)
    assert frames.shape == (len(MOTIONS), camera.height_px, camera.width_px, 3)


@every_camera_effect
def test_the_same_generator_films_the_same(name):
    one, same = (filmed(name, 0.7, seed=1) for _ in range(2))
    assert one.tobytes() == same.tobytes()


@every_camera_effect
def test_a_frame_depends_on_its_motion_and_not_on_the_frames_before(name):
    effect = resolve_name(CAMERA_EFFECTS[name])(0.7, LOOK, CAMERAS[0], np.random.default_rng(1))
    assert np.array_equal(effect(scene(CAMERAS[0]), MOTIONS[5]), filmed(name, 0.7, seed=1)[5])
