"""The picture for people holds the car, its camera image and the map."""

import numpy as np

from sim.look import Look
from sim.renderers.chase import BODY_TOP, HERE, ChaseView
from sim.surface import draw_surface
from tests.sim.scenes import CAR, straight


def test_it_shows_the_car_beside_its_camera_image_and_where_it_is_on_the_map():
    road = straight()
    camera_image = np.full((64, 64, 3), (1, 2, 3), np.uint8)
    view = ChaseView(draw_surface(road, Look()), CAR)
    start, end = view.render(road.pose(0.0), camera_image), view.render(road.pose(40.0), camera_image)
    assert start.shape == (384, 704, 3)
    assert start.dtype == np.uint8
    assert (start[:192, 512:] == (1, 2, 3)).all()
    assert (start[:, :512] == BODY_TOP).all(axis=2).sum() > 1000
    at_start, at_end = (np.argwhere((image[192:, 512:] == HERE).all(axis=2)).mean(axis=0) for image in (start, end))
    assert at_end[1] - at_start[1] > 40  # the road runs along x, to the right on the map


def test_it_shows_a_camera_image_of_any_size():
    road = straight()
    picture = ChaseView(draw_surface(road, Look()), CAR).render((0, 0, 0), np.zeros((90, 160, 3), np.uint8))
    assert picture.shape == (384, 704, 3)
