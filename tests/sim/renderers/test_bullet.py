"""The reference camera sees the surface alone and gives back what it takes."""

from dataclasses import replace

import numpy as np
import pybullet
import pytest

from sim.look import Look
from sim.optics import sky
from sim.renderers.bullet import BulletRenderer
from sim.spec import CameraSpec
from sim.surface import draw_surface
from tests.sim.scenes import straight

CAMERA = CameraSpec()
GRASS = (92, 122, 58)


@pytest.fixture
def renderer():
    # A straight road along x, painted over: red where x and y are positive, but for the outermost four metres.
    surface = draw_surface(straight(), Look())
    image = np.full(surface.strip.image.shape, (*GRASS, 255), np.uint8)
    column, row = surface.strip.to_pixels(surface.road.lead_m, 0.0)
    image[80 : round(row), round(column) :, :3] = (250, 10, 10)
    renderer = BulletRenderer(replace(surface, strip=replace(surface.strip, image=image)), CAMERA)
    yield renderer
    if pybullet.isConnected(renderer.client):
        renderer.close()


def test_it_shows_the_sky_down_to_the_horizon(renderer):
    assert np.array_equal(renderer.render((0.0, 0.0, 0.0))[:18], sky(CAMERA)[:18])


def test_left_of_the_car_is_left_in_the_picture_whichever_way_it_looks(renderer):
    along_x, along_y = renderer.render((0.0, 0.0, 0.0)), renderer.render((0.0, 0.0, np.pi / 2))
    red_left = (along_x[30:] == (250, 10, 10)).all(axis=2)
    red_right = (along_y[30:] == (250, 10, 10)).all(axis=2)
    assert red_left[:, :30].all()
    assert not red_left[:, 34:].any()
    assert red_right[:, 34:].all()
    assert not red_right[:, :30].any()


def test_beyond_the_surface_is_grass(renderer):
    assert renderer.render((200.0, 0.0, 0.0))[40].astype(int) == pytest.approx(np.full((64, 3), GRASS), abs=2)


def test_closing_ends_its_pybullet(renderer):
    renderer.close()
    assert not pybullet.isConnected(renderer.client)
