"""What pages are sent: the newest, what came before it, and the figures of all."""

import cv2
import msgspec
import numpy as np
import pytest

from deploy.dashboard.board import Board
from deploy.dashboard.messages import Cycle, Scene, picture

SCENE = Scene(kind="drive", title="a car", hands=True, top_speed_mps=2.0)


def cycle(t_s: float, **changes) -> Cycle:
    fields = {"state": "driving", "steering": 0.5, "speed": 0.0, "speed_mps": 1.0, "cycles": 1, "missed": 0}
    return Cycle(**{"at_s": 100 + t_s, "t_s": t_s, **fields, **changes})


def test_percentiles_are_of_every_cycle_also_of_those_that_were_not_shown():
    board = Board()
    board.take(cycle(0.1, round_trips_ms=[1.0, 2.0, 3.0], inferences_ms=[0.5]))
    board.take(cycle(0.2, round_trips_ms=[4.0, 104.0]))
    now = msgspec.json.decode(board.now())
    assert now["round_trip_ms"] == pytest.approx([3.0, 100.0])  # the 99th is 24/25 of the way from 4 to 104
    assert now["inference_ms"] == [0.5, 0.5]
    assert msgspec.json.decode(Board().now())["round_trip_ms"] is None


def test_a_page_that_comes_late_gets_the_strips_and_the_track_so_far():
    board = Board()
    board.take(SCENE)
    for i, x_m in enumerate((0.0, 0.1, 0.2, 0.3, 5.0)):  # the way to the second place is too short to be drawn
        board.take(cycle(0.1 * i, pose=(x_m, 0.0, 0.0)))
    opening = msgspec.json.decode(board.opening())
    assert (opening["type"], opening["title"]) == ("scene", "a car")
    assert opening["track"] == [[0.0, 0.0], [0.3, 0.0], [5.0, 0.0]]
    assert opening["past"][1] == [0.1, 0.5, 0.0, 1.0]


def test_a_number_that_is_none_is_sent_as_nothing():
    board = Board()
    board.take(cycle(0.1, value=float("nan"), novelty=float("inf")))
    now = msgspec.json.decode(board.now())
    assert (now["value"], now["novelty"]) == (None, None)


def test_the_picture_has_the_colours_of_the_camera():
    board = Board()
    image = np.zeros((16, 16, 3), np.uint8)
    image[:] = (200, 30, 10)
    board.take(cycle(0.1, image=picture(image)))
    shown = cv2.imdecode(np.frombuffer(board.picture(), np.uint8), cv2.IMREAD_COLOR)
    assert shown[8, 8].tolist() == pytest.approx([10, 30, 200], abs=6)  # OpenCV has blue first
    board.take(cycle(0.2))
    assert board.picture() == b""
