"""What is painted on a strip lies where the lane says, to a centimetre, at every scale."""

from dataclasses import replace

import numpy as np
import pytest

from sim.look import Look
from sim.markings import PAINTS
from sim.materials import ASPHALT, GRASS, MATERIALS, VERGES
from sim.road import Road
from sim.strip import Strip, draw_strip
from tests.sim.scenes import ring, straight

BARE = {"left_line": "none", "right_line": "none", "lane_line": "none"}
CIRCUIT = ring(30.0, points=754)  # 188.5 m


def shrunk(road: Road, unit_m: float) -> Road:
    """The road for a small car: everything on it is so much smaller."""
    lengths = ("length_m", "step_m", "lead_m", "xy_m", "left_m", "right_m")
    return replace(road, unit_m=unit_m, **{name: getattr(road, name) * unit_m for name in lengths})


def paint_on(road: Road, **look: str) -> tuple[Strip, np.ndarray]:
    """The strip, and how much of each pixel is painted white with these lines and no others, (rows, columns)."""
    strip, bare = draw_strip(road, Look(**BARE | look)), draw_strip(road, Look(**BARE))
    with_lines, without = (s.image[..., :3].mean(axis=2, dtype=float) for s in (strip, bare))
    return strip, (with_lines - without) / (np.mean(PAINTS["white"]) - without)


def centre_and_width_m(strip: Strip, painted: np.ndarray) -> tuple[float, float]:
    """Where a lone line's middle lies, left positive, and how wide it is, in metres."""
    across = painted.mean(axis=1)
    left_m = strip.half_m - (np.arange(len(across)) + 0.5) / strip.across_ppm
    return float(np.average(left_m, weights=across)), float(across.sum() / strip.across_ppm)


@pytest.mark.parametrize("unit_m", [1.0, 0.1, 1 / 16])
@pytest.mark.parametrize(("line", "left_m"), [("right_line", -1.5), ("left_line", 4.5), ("lane_line", 1.5)])
def test_a_line_is_15_cm_wide_and_centred_on_the_lanes_edge(unit_m, line, left_m):
    centre, width = centre_and_width_m(*paint_on(shrunk(straight(lanes=2), unit_m), **{line: "solid"}))
    assert centre == pytest.approx(left_m * unit_m, abs=0.005 * unit_m)
    assert width == pytest.approx(0.15 * unit_m, abs=0.01 * unit_m)


def test_there_is_a_line_between_every_two_lanes():
    strip, painted = paint_on(straight(lanes=4), lane_line="solid")
    rows = np.flatnonzero(painted[:, 50] > 0.9)
    left_m = strip.half_m - (rows + 0.5) / strip.across_ppm
    assert sorted(set(np.round(left_m / 1.5))) == [1, 3, 5]


def test_dashes_are_three_metres_long_with_gaps_of_six():
    strip, painted = paint_on(straight(60.0, lanes=2), lane_line="dashed")
    row = round((strip.half_m - 1.5) * strip.across_ppm)
    changes = np.flatnonzero(np.abs(np.diff(painted[row])) > 0.5) + 1
    lengths_m = np.diff(changes / strip.along_ppm)
    assert len(lengths_m) > 10
    assert lengths_m[::2] == pytest.approx(6, abs=0.11)
    assert lengths_m[1::2] == pytest.approx(3, abs=0.11)


def test_a_double_line_leaves_12_cm_of_pavement_between():
    strip, painted = paint_on(straight(), left_line="double")
    across = painted[:, 100]
    middle = round((strip.half_m - 1.5) * strip.across_ppm)
    assert across.sum() / strip.across_ppm == pytest.approx(0.30, abs=0.01)
    gap = (1 - across[middle - 3 : middle + 3]).sum() / strip.across_ppm  # 30 cm about the middle: paint, gap, paint
    assert gap == pytest.approx(0.12, abs=0.01)


def test_lines_keep_to_the_edges_of_a_lane_that_widens():
    x = np.arange(len(straight(lanes=2).xy_m))
    widening = replace(straight(lanes=2), left_m=1.5 + 0.004 * x, right_m=1.5 + 0.002 * x)
    strip, painted = paint_on(widening, right_line="solid")
    point = 300
    columns = round(point * widening.step_m * strip.along_ppm) + np.array([-1, 0])
    centre, width = centre_and_width_m(strip, painted[:, columns])
    assert centre == pytest.approx(-1.5 - 0.002 * point, abs=0.01)
    assert width == pytest.approx(0.15, abs=0.01)


def test_the_pavement_ends_half_a_metre_beyond_the_edge_lines():
    strip = draw_strip(straight(lanes=2), Look())
    green = strip.image[..., 1].astype(int) - strip.image[..., 2] > 12
    left_m = strip.half_m - (np.flatnonzero(~green[:, 300]) + 0.5) / strip.across_ppm
    assert left_m.min() == pytest.approx(-2.0, abs=0.03)
    assert left_m.max() == pytest.approx(5.0, abs=0.03)


def test_the_verge_keeps_to_an_edge_that_wanders():
    road = straight(200.0)
    half_m = 1.5 + 0.8 * np.sin(np.arange(len(road.xy_m)) / 40)
    strip = draw_strip(replace(road, left_m=half_m, right_m=half_m), Look(**BARE))
    green = strip.image[..., 1].astype(int) - strip.image[..., 2] > 12
    columns = np.arange(4, strip.image.shape[1] - 4)
    edge_m = np.interp((columns + 0.5) / strip.along_ppm, np.arange(len(half_m)) * road.step_m, half_m) + 0.5
    paved_m = (~green[:, columns]).sum(axis=0) / strip.across_ppm
    assert paved_m == pytest.approx(2 * edge_m, abs=0.06)
    assert strip.half_m - (~green[:, columns]).argmax(axis=0) / strip.across_ppm == pytest.approx(edge_m, abs=0.06)


def test_a_kerb_stands_on_30_cm_beside_the_pavement_in_blocks_of_a_metre():
    strip = draw_strip(straight(60.0), Look(verge="kerb", seed=0))
    rows = {edge: round((strip.half_m - edge) * strip.across_ppm) for edge in (2.0, 2.3)}
    assert (strip.image[rows[2.3] : rows[2.0]] == strip.image[rows[2.0] - 1]).all()
    assert (strip.image[rows[2.3] - 1, :, 1] > strip.image[rows[2.3] - 1, :, 0]).mean() > 0.99  # grass
    red = strip.image[rows[2.0] - 1, :, 1] < 100
    assert np.diff(np.flatnonzero(np.diff(red))) / strip.along_ppm == pytest.approx(1, abs=0.11)
    assert red.mean() == pytest.approx(0.5, abs=0.02)


def test_concrete_has_a_joint_every_five_metres():
    strip = draw_strip(straight(60.0), Look(pavement="concrete", **BARE))
    lane = strip.image[round(11 * strip.across_ppm) : round(13 * strip.across_ppm), :, 1].mean(axis=0)
    dark = np.flatnonzero(lane < np.median(lane) - 20)
    assert np.diff(dark / strip.along_ppm) == pytest.approx(5.0, abs=0.05)


@pytest.mark.parametrize("name", MATERIALS)
def test_a_pavement_has_its_materials_colour(name):
    strip = draw_strip(straight(200.0), Look(pavement=name, **BARE))
    lane = strip.image[round(11 * strip.across_ppm) : round(13 * strip.across_ppm)]
    assert lane.mean(axis=(0, 1))[:3] == pytest.approx(MATERIALS[name].colour, abs=3)


@pytest.mark.parametrize("name", VERGES)
def test_beyond_a_strip_its_verge_goes_on_in_its_mean_colour(name):
    strip = draw_strip(straight(200.0), Look(verge=name))
    assert strip.beyond.dtype == np.uint8
    assert strip.beyond.tolist() == pytest.approx(VERGES[name].colour, abs=4)


def test_the_default_look_is_grass_and_asphalt_with_the_contrast_that_vaes_know():
    image = draw_strip(straight(200.0), Look()).image[..., 1]
    grass, asphalt = image[:150], image[220:260]
    assert (grass.mean(), asphalt.mean()) == (pytest.approx(GRASS[1], abs=2), pytest.approx(ASPHALT[1], abs=2))
    assert (grass.std(), asphalt.std()) == (pytest.approx(10, abs=2.5), pytest.approx(5, abs=1.5))


def test_column_0_is_the_roads_first_point_and_row_0_lies_leftmost():
    strip = draw_strip(straight(), Look())
    column, row = strip.to_pixels(np.array([0.0, 7.0]), np.array([12.0, -1.5]))
    assert column.tolist() == pytest.approx([0, 70], abs=0.05)
    assert row.tolist() == pytest.approx([0, 270])


def test_a_small_cars_strip_has_the_same_pixels():
    full, small = (draw_strip(shrunk(straight(), unit), Look()) for unit in (1.0, 0.1))
    assert np.array_equal(full.image, small.image)
    assert small.along_ppm == pytest.approx(10 * full.along_ppm)


def test_a_long_road_has_no_more_columns_than_remap_takes():
    strip = draw_strip(straight(4000.0), Look())
    assert strip.image.shape[1] == 32000
    assert strip.along_ppm * (len(strip.road.xy_m) - 1) * strip.road.step_m == pytest.approx(32000)


def test_a_wide_road_has_verge_on_both_sides():
    strip = draw_strip(straight(lanes=5), Look())  # its pavement ends 14 m to the left
    assert strip.half_m >= 17
    assert strip.image[0, :, 1].mean() == pytest.approx(GRASS[1], abs=6)


def test_a_circuit_takes_a_whole_number_of_dashes():
    strip, painted = paint_on(replace(CIRCUIT, lanes=2), lane_line="dashed")
    row = round((strip.half_m - 1.5) * strip.across_ppm)
    lap = painted[row, : painted.shape[1] - strip.overlap]
    starts = np.flatnonzero(np.diff(lap, prepend=lap[-1]) > 0.5)
    assert len(starts) == 21  # 188.5 m / 9 m
    assert np.diff(starts, append=starts[0] + len(lap)) == pytest.approx(188.5 / 21 * 10, abs=1.1)


def test_the_ground_of_a_circuit_meets_itself_without_a_seam():
    strip = draw_strip(CIRCUIT, Look())
    lap = strip.image.shape[1] - strip.overlap
    steps = np.abs(np.diff(strip.image[:150, :, 1].astype(float), axis=1)).mean(axis=0)
    assert steps[lap - 1] < 1.2 * np.median(steps)


def test_at_the_end_of_a_circuit_its_next_lap_begins():
    strip = draw_strip(CIRCUIT, Look())
    assert strip.overlap == pytest.approx(600, abs=1)  # 60 m at 10 pixels
    assert np.array_equal(strip.image[:, -strip.overlap :], strip.image[:, : strip.overlap])
    assert draw_strip(straight(), Look()).overlap == 0


def test_the_same_look_gives_the_same_picture_and_another_seed_does_not():
    first, again, other = (draw_strip(straight(), Look(seed=seed)).image for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
