"""A camera that is frozen, black or of the wrong size is told from one that sees."""

from dataclasses import replace

import numpy as np
import pytest

from deploy.driving.eyes import camera_check, late
from deploy.vehicles import Frame
from tests.deploy.cars import SPEC, frame

GREY = np.full((8, 8, 3), 128, np.uint8)


def seen(image: np.ndarray, speed_mps: float = 1.0, at_s: float = 0.0) -> Frame:
    return replace(frame(at_s, speed_mps=speed_mps), image=image)


def told(*frames: Frame) -> list[str | None]:
    """What is said of each frame of a drive."""
    check = camera_check(SPEC)
    faults = [check(frame) for frame in frames]
    assert all(fault is None or fault.kind == "camera" for fault in faults)
    return [fault and fault.detail for fault in faults]


def test_pictures_that_change_are_good():
    assert told(*[seen(GREY + i, at_s=i / 10) for i in range(5)]) == [None] * 5


def test_the_same_picture_for_a_period_is_frozen_if_the_car_moves():
    other = GREY.copy()
    other[7, 7, 2] += 1
    assert told(seen(GREY), seen(GREY, at_s=0.1), seen(other, at_s=0.2), seen(GREY, at_s=0.3)) == [
        None,
        "frozen: it shows the same for 100 ms while the car moves",
        None,
        None,
    ]


def test_a_camera_slower_than_the_loop_is_not_frozen():
    slow = [seen(GREY + i // 6, at_s=i / 100) for i in range(60)]  # 100 Hz, and a new picture every 60 ms
    assert told(*slow) == [None] * 60
    assert [fault is not None for fault in told(*[seen(GREY, at_s=i / 100) for i in range(12)])] == [False] * 9 + [
        True
    ] * 3


def test_a_car_that_stands_sees_the_same_again_and_again_also_when_it_sets_off():
    speeds_mps = (0.0, 0.0, 0.3, 0.5, 0.6)
    assert told(*[seen(GREY, speed_mps, i / 10) for i, speed_mps in enumerate(speeds_mps)])[:4] == [None] * 4
    assert told(seen(GREY, 0.0), seen(GREY, 0.5, 5.0), seen(GREY, 0.6, 5.05)) == [None] * 3


@pytest.mark.parametrize(("grey", "black"), [(0, True), (3, True), (4, False), (20, False)])
def test_a_picture_without_light_is_black_and_a_dark_one_is_not(grey, black):
    assert told(seen(np.full((8, 8, 3), grey, np.uint8))) == ["black" if black else None]


@pytest.mark.parametrize("shape", [(8, 9, 3), (9, 8, 3), (8, 8), (8, 8, 4), (0, 0, 3)])
def test_a_picture_of_another_size_is_named(shape):
    assert told(seen(np.full(shape, 99, np.uint8))) == [f"giving pictures of {shape}, expected (8, 8, 3)"]


def test_a_picture_that_was_old_when_it_was_asked_for_is_a_hanging_cameras():
    assert late(seen(GREY, at_s=5.0), asked_at_s=5.15, bound_s=0.151) is None
    assert late(seen(GREY, at_s=5.0), asked_at_s=4.9, bound_s=0.15) is None  # taken after it was asked for
    assert late(seen(GREY, at_s=5.0), 5.2, 0.15).detail == "its newest picture is 200 ms old"
