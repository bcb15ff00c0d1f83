"""Observations of any size are the caller's, and what cannot be is refused by its name."""

import math

import cv2
import numpy as np
import pytest

from sim.lane_following import LaneFollowing
from sim.options import ScenarioError
from sim.routes import RouteError
from tests.sim.scenes import exact, wander

AHEAD = np.array([0.0, 1.0], np.float32)
SMALL = {"image_size": (16, 16)}


@pytest.mark.parametrize(("height", "width"), [(84, 84), (120, 160), (36, 36), (1, 1), (7, 3), (64, 64)])
def test_any_image_size_in_colour_and_grey(make, height, width):
    scenario = {"scenario": "wild", "length_m": 60.0, "image_size": (height, width)}
    colour, grey = make(**scenario), make(**scenario, grayscale=True)
    assert colour.observation_space["image"].shape == (height, width, 3)
    assert grey.observation_space["image"].shape == (height, width, 1)
    seen = [colour.reset(seed=2)[0], grey.reset(seed=2)[0]]
    for _ in range(5):
        red, green, blue = np.moveaxis(seen[0]["image"].astype(float), -1, 0)
        luma = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
        assert seen[1]["image"].dtype == np.uint8
        assert np.abs(seen[1]["image"][..., 0] - luma).max() <= 0.51  # rounded
        assert colour.observation_space.contains(seen[0])
        assert grey.observation_space.contains(seen[1])
        seen = [colour.step(AHEAD)[0], grey.step(AHEAD)[0]]


def test_an_impossible_image_size_is_refused_in_one_line():
    for height, width in ((0, 64), (64, 0), (-1, 64)):
        with pytest.raises(ScenarioError, match=rf"^image_size is \({height}, {width}\); expected \(height, width\)"):
            LaneFollowing(image_size=(height, width))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"image_size": 64}, "image_size"),
        ({"image_size": (64,)}, "image_size"),
        ({"image_size": (64.5, 64)}, "image_size"),
        ({"road_seed": -1}, "road_seed"),
        ({"road_seed": "a"}, "road_seed"),
        ({"scenario": ["paper"]}, "scenario"),
        ({"roads": ["held_in"]}, "roads"),
        ({"vehicle": ["donkey"]}, "vehicle"),
    ],
)
def test_an_impossible_option_is_refused_by_its_name(options, named):
    with pytest.raises(ScenarioError, match=named) as caught:
        LaneFollowing(**options).close()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"render_mode": "ansi"}, "render_mode"),
        ({"topology": "circuit", "length_m": 10.0}, "length_m"),
        ({"lane_width_m": (0.2, 0.2)}, "lane_width_m"),  # narrower than the car: every episode is one step
        ({"min_radius_m": 0.5, "length_m": 40.0}, "min_radius_m"),  # half a lane is wider; 250 m of it never ended
    ],
)
def test_a_road_that_cannot_be_driven_is_refused(options, named):
    with pytest.raises((ScenarioError, RouteError), match=f"^{named} is ") as caught:
        LaneFollowing(**options).close()
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["distance_m", "lateral_offset_m", "heading_error_rad"])
@pytest.mark.parametrize("value", ["far", math.nan, math.inf, None])
def test_a_start_that_is_no_place_is_refused_and_harms_no_later_episode(make, name, value):
    env, fresh = make(**SMALL), make(**SMALL)
    env.reset(seed=0)
    wander(env, 5)
    with pytest.raises(ScenarioError, match=f"^{name} is "):
        env.reset(options={name: value})
    assert exact(*env.reset(seed=1)) == exact(*fresh.reset(seed=1))


def test_an_unknown_reset_option_is_refused_in_one_line(make):
    with pytest.raises(ScenarioError, match="distance"):
        make(**SMALL).reset(options={"distance": 3.0})


def test_grey_is_what_opencv_makes_of_the_same_frame(make):
    env = make(grayscale=True, **SMALL)
    obs, _ = env.reset(seed=0)
    assert np.array_equal(obs["image"][..., 0], cv2.cvtColor(env.task.frame, cv2.COLOR_RGB2GRAY))
