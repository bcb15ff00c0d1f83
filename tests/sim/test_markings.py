"""Paint covers pixels by area, wherever a line runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.markings import LINES, dashes, paint

WHITE = np.full(4, 255, np.uint8)


def covered(top: np.ndarray, bottom: np.ndarray, weight: float = 1.0) -> np.ndarray:
    """How much of each pixel of a black picture of 40 rows is painted, (40, columns)."""
    image = np.zeros((40, len(top), 4), np.uint8)
    paint(image, top, bottom, np.full(len(top), weight, np.float32), WHITE)
    return image[..., 0] / 255


@given(top=st.floats(1, 30), width=st.floats(0.1, 8), weight=st.floats(0, 1))
def test_as_much_is_painted_as_the_line_is_wide(top, width, weight):
    line = np.full(7, top, np.float32)
    painted = covered(line, line + np.float32(width), weight)
    assert painted.sum(axis=0) == pytest.approx(width * weight, abs=0.02)
    assert not painted[: int(top)].any()
    assert not painted[int(top + width) + 1 :].any()


def test_a_line_is_painted_row_by_row_by_the_part_that_it_covers():
    painted = covered(np.full(3, 10.25, np.float32), np.full(3, 13.5, np.float32))
    assert painted[9:15, 1] == pytest.approx([0, 0.75, 1, 1, 0.5, 0], abs=0.003)


def test_a_line_that_wanders_is_as_wide_and_lies_where_it_should_in_every_column():
    top = 15 + 10 * np.sin(np.arange(2000) / 90).astype(np.float32)
    painted = covered(top, top + 3)
    middle = (painted * (np.arange(40)[:, None] + 0.5)).sum(axis=0) / painted.sum(axis=0)
    assert painted.sum(axis=0) == pytest.approx(3, abs=0.02)
    assert middle == pytest.approx(top + 1.5, abs=0.02)


def test_half_transparent_paint_leaves_half_of_the_ground():
    image = np.full((10, 4, 4), 100, np.uint8)
    top, bottom, weight = (np.full(4, value, np.float32) for value in (3, 5, 0.5))
    paint(image, top, bottom, weight, np.array([200, 0, 100, 255], np.uint8))
    assert image[3, 0, :3].tolist() == [150, 50, 100]
    assert image[5, 0].tolist() == [100, 100, 100, 100]


def test_a_dash_begins_each_period_and_shares_the_column_in_which_it_ends():
    assert dashes(10, period_px=4.0, dash_px=1.5).tolist() == [1, 0.5, 0, 0, 1, 0.5, 0, 0, 1, 0.5]


@given(period=st.floats(2, 200), share=st.floats(0.05, 0.95), periods=st.integers(1, 20))
def test_dashes_cover_their_share_of_whole_periods(period, share, periods):
    cover = dashes(int(period * periods), period, period * share)
    assert ((cover >= -1e-6) & (cover <= 1 + 1e-6)).all()
    assert cover.sum() == pytest.approx(period * periods * share, abs=1 + 1e-3 * periods)


def test_a_double_line_is_two_of_15_cm_with_12_cm_between():
    low, high = sorted(stripe.left_m for stripe in LINES["double"])
    assert high - low == pytest.approx(0.15 + 0.12)
    assert low + high == pytest.approx(0)
