"""The camera shows what lies between the world and the picture in its order, and frames that come late."""

from dataclasses import replace

import numpy as np
import pytest

from sim.camera import Camera
from sim.dynamics import Dynamics
from sim.effects import CAMERA_EFFECTS, Motion
from sim.look import Look
from sim.renderers import RENDERERS
from sim.scene import Scene
from sim.surface import draw_surface
from tests.sim.scenes import CAR, straight

ROAD = straight(60.0)
SPEC = replace(CAR, camera=replace(CAR.camera, width_px=32, height_px=24))
HERE = Motion((10.0, 0.2, 0.05), 2.0, 0.1, 0)


class Lift:
    """Makes a frame 40 brighter in place; with `Halve` the order shows."""

    def __init__(self, strength, look, camera, rng) -> None:
        pass

    def __call__(self, image, motion):
        image[:] = np.minimum(image.astype(int) + 40, 255)
        return image


class Halve(Lift):
    """Makes a frame half as bright, in an image of its own."""

    def __call__(self, image, motion):
        return image // 2


class Number(Lift):
    """Shows nothing but the frame's number."""

    def __call__(self, image, motion):
        return np.full_like(image, motion.frame)


def camera(look: Look | None = None, dynamics: Dynamics | None = None, renderer: str = "planar") -> Camera:
    look = look or Look(seed=4)
    scene = Scene(ROAD, look, SPEC, dynamics or Dynamics())
    return Camera(draw_surface(ROAD, look), scene, renderer)


@pytest.fixture
def numbered(monkeypatch):
    """Makes a camera whose frames are their numbers, with these dynamics; returns what it sees of 60 of them."""
    monkeypatch.setitem(CAMERA_EFFECTS, "noise", "tests.sim.test_camera:Number")

    def seen(seed: int = 0, **dynamics) -> list[int]:
        eye = camera(Look(camera={"noise": 1.0}), Dynamics(seed=seed, **dynamics))
        return [int(eye.capture(HERE._replace(frame=frame))[0, 0, 0]) for frame in range(60)]

    return seen


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("dynamics", [Dynamics(), Dynamics(frame_delay=2, frame_drop=0.5)])
@pytest.mark.parametrize("effects", [{}, {"fog": 0.5}, dict.fromkeys(CAMERA_EFFECTS, 1.0)])
def test_out_is_filled_and_returned_and_shows_what_is_returned_without_it(renderer, dynamics, effects):
    look = Look(seed=2, camera=effects)
    given, own = camera(look, dynamics, renderer), camera(look, dynamics, renderer)
    batch = np.zeros((2, 24, 32, 3), np.uint8)
    for frame in range(6):
        motion = HERE._replace(pose=(10.0 + frame, 0.1, 0.0), frame=frame)
        out = batch[1]
        assert given.capture(motion, (), out) is out
        image = own.capture(motion)
        assert (image.shape, image.dtype) == ((24, 32, 3), np.uint8)
        assert np.array_equal(batch[1], image)
        assert not batch[0].any()
    given.close()
    own.close()


def test_effects_are_applied_in_their_tables_order(monkeypatch):
    plain = camera().capture(HERE).astype(int)
    first, *_, last = CAMERA_EFFECTS
    for effects, wanted in (
        (("Lift", "Halve"), np.minimum(plain + 40, 255) // 2),
        (("Halve", "Lift"), plain // 2 + 40),
    ):
        for name, effect in zip((first, last), effects, strict=True):
            monkeypatch.setitem(CAMERA_EFFECTS, name, f"tests.sim.test_camera:{effect}")
        for names in ((first, last), (last, first)):  # whatever the look's own order
            look = Look(seed=4, camera=dict.fromkeys(names, 1.0))
            assert np.array_equal(camera(look).capture(HERE), wanted)
            out = np.zeros((24, 32, 3), np.uint8)
            assert np.array_equal(camera(look).capture(HERE, (), out), wanted)


def test_without_effects_a_frame_is_the_renderers():
    eye = camera()
    assert np.array_equal(eye.capture(HERE), eye._renderer.render(HERE.pose))


@pytest.mark.parametrize("delay", range(4))
def test_a_frame_is_seen_so_many_periods_late_and_the_first_until_then(numbered, delay):
    assert numbered(frame_delay=delay) == [max(frame - delay, 0) for frame in range(60)]


@pytest.mark.parametrize("delay", [0, 2])
def test_a_dropped_frame_shows_the_one_before_it_again(numbered, delay):
    lost = 0
    for seed in range(20):
        seen = numbered(seed, frame_delay=delay, frame_drop=0.3)
        assert seen[0] == 0
        for before, (frame, now) in zip(seen, list(enumerate(seen))[1:], strict=False):
            assert now in (before, max(frame - delay, 0))
            lost += now != max(frame - delay, 0)
    assert lost / (20 * 59) == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 20 / 59))


def test_which_frames_are_lost_depends_on_the_dynamics_seed_only(numbered):
    assert numbered(3, frame_drop=0.5) == numbered(3, frame_drop=0.5)
    assert numbered(3, frame_drop=0.5) != numbered(4, frame_drop=0.5)


@pytest.mark.parametrize("name", [*CAMERA_EFFECTS, "all of them"])
@pytest.mark.parametrize("dynamics", [Dynamics(), Dynamics(frame_delay=1, frame_drop=0.3)])
def test_after_a_reset_the_same_drive_gives_the_same_frames(name, dynamics):
    effects = dict.fromkeys(CAMERA_EFFECTS, 0.8) if name == "all of them" else {name: 0.8}
    eye = camera(Look(seed=9, sun_azimuth_rad=0.3, camera=effects), dynamics)
    drives = []
    for frames in (12, 5, 12):
        eye.reset()
        drives.append(
            [
                eye.capture(HERE._replace(pose=(5.0 + frame, 0.0, 0.01 * frame), frame=frame)).tobytes()
                for frame in range(frames)
            ]
        )
    assert drives[0] == drives[2]
    assert drives[1] == drives[0][:5]


@pytest.mark.parametrize("name", CAMERA_EFFECTS)
def test_another_camera_of_the_same_look_sees_the_same(name):
    look = Look(seed=9, sun_azimuth_rad=0.3, camera={name: 1.0})
    one, other = camera(look), camera(look)
    for frame in range(5):
        motion = HERE._replace(frame=frame)
        assert np.array_equal(one.capture(motion), other.capture(motion))


@pytest.mark.parametrize("dynamics", [Dynamics(), Dynamics(frame_delay=2), Dynamics(frame_drop=0.5)])
def test_a_frame_is_the_callers_own(dynamics):
    eye = camera(Look(seed=1, camera=dict.fromkeys(CAMERA_EFFECTS, 0.5)), dynamics)
    frames, copies = [], []
    for frame in range(8):
        frames.append(eye.capture(HERE._replace(pose=(5.0 + frame, 0.0, 0.0), frame=frame)))
        copies.append(frames[-1].copy())
    assert all(np.array_equal(frame, copy) for frame, copy in zip(frames, copies, strict=True))
    frames[0][:] = 7  # and what the caller does with it is seen by nobody
    eye.reset()
    assert np.array_equal(eye.capture(HERE._replace(pose=(5.0, 0.0, 0.0))), copies[0])
