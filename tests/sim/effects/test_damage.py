"""Damage stays where it belongs: worn paint on lines, the rest on the pavement."""

import numpy as np
import pytest

from sim.effects import damage
from sim.look import Look
from sim.strip import draw_strip
from tests.sim.scenes import straight

ROAD = straight(200.0)


def changed(effect, look: Look = Look(), strength: float = 1.0) -> np.ndarray:  # noqa: B008 (frozen)
    """Where that effect paints on a plain strip, (rows, columns) bool."""
    strip = draw_strip(ROAD, look)
    before = strip.image.copy()
    effect(strip, strength, np.random.default_rng(3))
    return (strip.image != before).any(axis=2)


def left_of_centre_m(mask: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(mask.any(axis=1))
    return 12 - (rows + 0.5) / 20


def test_paint_wears_only_where_it_is():
    assert np.abs(np.abs(left_of_centre_m(changed(damage.wear_lines))) - 1.5).max() <= 0.1
    assert not changed(damage.wear_lines, Look(left_line="none", right_line="none")).any()


def test_worn_paint_is_bare_in_some_places_and_whole_in_others():
    strip = draw_strip(ROAD, Look())
    row = round((strip.half_m + 1.5) * strip.across_ppm)
    damage.wear_lines(strip, 1.0, np.random.default_rng(3))
    line = strip.image[row, :, 1]
    assert (line < 130).mean() > 0.1
    assert (line > 200).mean() > 0.1


@pytest.mark.parametrize("effect", [damage.patch, damage.crack, damage.mark_with_tyres])
def test_it_keeps_to_the_pavement(effect):
    assert np.abs(left_of_centre_m(changed(effect))).max() <= 2.0


def test_wheel_tracks_run_65_cm_beside_the_lanes_centre():
    dark = changed(damage.mark_with_tyres).mean(axis=1)
    left_m = 12 - (np.arange(len(dark)) + 0.5) / 20
    assert np.average(left_m[left_m > 0], weights=dark[left_m > 0]) == pytest.approx(0.65, abs=0.02)
    assert np.average(left_m[left_m < 0], weights=dark[left_m < 0]) == pytest.approx(-0.65, abs=0.02)


def test_cracks_are_thin_and_darker_than_the_road():
    strip = draw_strip(ROAD, Look())
    before = strip.image.astype(int)
    damage.crack(strip, 1.0, np.random.default_rng(3))
    difference = strip.image - before
    assert difference.max() == 0
    assert 0.001 < (difference < -20).any(axis=2)[200:280].mean() < 0.08
