"""Puddles and leaves lie on the pavement."""

import numpy as np

from sim.effects import litter
from sim.look import Look
from sim.strip import draw_strip
from tests.sim.scenes import straight

PAVED = slice(200, 280)  # rows of a lane and its shoulders, 20 to the metre, 12 m left of its centre to 12 m right


def littered(effect) -> tuple[np.ndarray, np.ndarray]:
    """A strip's picture before and after."""
    strip = draw_strip(straight(200.0), Look())
    before = strip.image.copy()
    effect(strip, 1.0, np.random.default_rng(3))
    return before, strip.image


def test_puddles_mirror_the_sky_and_wet_the_road_around_them():
    before, after = littered(litter.pour_puddles)
    mirrors = (after[PAVED, :, 2] > 150) & (before[PAVED, :, 2] < 130)
    wet = after[PAVED, :, 1].astype(int) < before[PAVED, :, 1].astype(int) - 20
    assert 0.01 < mirrors.mean() < 0.2
    assert 0.005 < wet.mean() < 0.2


def test_the_verge_stays_dry_and_free_of_leaves():
    for effect in (litter.pour_puddles, litter.drop_leaves):
        before, after = littered(effect)
        assert np.array_equal(after[:199], before[:199])
        assert np.array_equal(after[281:], before[281:])


def test_most_leaves_lie_along_the_edges():
    before, after = littered(litter.drop_leaves)
    leaves = (after[PAVED] != before[PAVED]).any(axis=2).mean(axis=1)
    assert leaves.mean() > 0.01
    assert leaves[:20].mean() + leaves[-20:].mean() > 1.5 * (leaves[20:60].mean() * 2)
