"""A scene is drawn within its scenario, the road from the road's seed and all else from the episode's."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sim.dynamics import Dynamics
from sim.effects import CAMERA_EFFECTS, SURFACE_EFFECTS
from sim.road import Road
from sim.scenario import SCENARIOS, Scenario, load_scenario
from sim.scene import HELD_IN, HELD_OUT, Scene, draw_road, draw_scene
from sim.tracks import TrackError
from sim.vehicles import VEHICLES, load_vehicle
from tests.sim.scenes import CAR, straight

SEEDS = st.integers(0, 2**31 - 1)
ARRAYS = ("xy_m", "yaw_rad", "curvature_1pm", "left_m", "right_m")
FIELDS = ("seed", "length_m", "closed", "unit_m", "step_m", "lead_m", "lanes")
STREET = straight(250.0)


def same(one: Road, other: Road) -> bool:
    """Whether two roads are equal bit for bit."""
    fields = all(getattr(one, name) == getattr(other, name) for name in FIELDS)
    return fields and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ARRAYS)


def drawn(scenario: Scenario, seed: int, road: Road = STREET) -> Scene:
    return draw_scene(scenario, CAR, road, np.random.default_rng(seed))


def write_circuit(path: Path, radius_m: float = 60.0, right_m: float = 2.0, left_m: float = 4.0) -> Path:
    """An ellipse to the left, twice as long as wide."""
    angle = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    rows = [f"{2 * radius_m * np.sin(a):.5f}, {-radius_m * np.cos(a):.5f}, {right_m}, {left_m}" for a in angle]
    path.write_text("# x_m, y_m, w_tr_right_m, w_tr_left_m\n" + "\n".join(rows) + "\n")
    return path


@settings(max_examples=20)
@given(seed=SEEDS, name=st.sampled_from(["paper", "country", "wild"]), vehicle=st.sampled_from([*VEHICLES]))
def test_a_road_depends_on_its_seed_and_vehicle_only(seed, name, vehicle):
    scenario, car = load_scenario(name, length_m=60.0), load_vehicle(vehicle)
    first = draw_road(scenario, car, seed)
    np.random.default_rng().random()  # whatever is drawn elsewhere
    changed = load_scenario(name, length_m=60.0, effects={}, paints=("yellow",), obstacles={"box": 9})
    assert same(first, draw_road(changed, car, seed))
    assert first.seed == seed
    assert not same(first, draw_road(scenario, car, seed + 1))


@settings(max_examples=20)
@given(seed=SEEDS, vehicle=st.sampled_from([*VEHICLES]))
def test_a_road_lies_within_its_scenario_at_the_vehicles_scale(seed, vehicle):
    car = load_vehicle(vehicle)
    scenario = load_scenario("wild", length_m=60.0, min_radius_m=16.0)
    road = draw_road(scenario, car, seed)
    assert road.unit_m == car.scale
    assert road.length_m == pytest.approx(60.0 * car.scale)
    assert road.lanes in (1, 2, 3)
    widths_m = (road.left_m + road.right_m) / car.scale
    assert 2.5 - 1e-9 <= widths_m.min() <= widths_m.max() <= 3.75 + 1e-9
    assert np.ptp(widths_m) < 1e-9
    assert np.abs(road.curvature_1pm).max() <= 1 / (16.0 * car.scale) + 1e-9


def test_all_lane_counts_and_widths_come_up():
    roads = [draw_road(load_scenario("wild", length_m=20.0), CAR, seed) for seed in range(60)]
    assert {road.lanes for road in roads} == {1, 2, 3}
    widths_m = [road.left_m[0] + road.right_m[0] for road in roads]
    assert min(widths_m) < 2.7
    assert max(widths_m) > 3.55


def test_a_circuit_is_closed_and_as_long_as_asked():
    road = draw_road(load_scenario("circuit", length_m=240.0), load_vehicle("donkey"), 5)
    assert road.closed
    assert road.length_m == pytest.approx(24.0)  # a donkey's world is a tenth of full size


@settings(max_examples=50)
@given(seed=SEEDS, name=st.sampled_from([*SCENARIOS]))
@example(seed=0, name="wild")
def test_the_same_randomness_draws_the_same_scene(seed, name):
    scenario = load_scenario(name, obstacles={"box": 10, "lead vehicle": 3})
    assert drawn(scenario, seed) == drawn(scenario, seed)


@settings(max_examples=60)
@given(seed=SEEDS, name=st.sampled_from([*SCENARIOS]))
def test_what_is_drawn_lies_within_the_scenario(seed, name):
    scenario = SCENARIOS[name]
    scene, within = drawn(scenario, seed), scenario.dynamics
    look, dynamics, car = scene.look, scene.dynamics, scene.vehicle
    assert scene.road is STREET
    assert look.pavement in scenario.pavements
    assert look.verge in scenario.verges
    assert look.left_line in scenario.left_lines
    assert look.right_line in scenario.right_lines
    assert look.lane_line in scenario.lane_lines
    assert {look.left_paint, look.right_paint, look.lane_paint} <= set(scenario.paints)
    assert abs(look.sun_azimuth_rad) <= math.pi
    assert set(look.surface) <= set(SURFACE_EFFECTS) & set(scenario.effects)
    assert set(look.camera) <= set(CAMERA_EFFECTS) & set(scenario.effects)
    for effect, strength in [*look.surface.items(), *look.camera.items()]:
        assert 0.2 * scenario.effects[effect] <= strength <= scenario.effects[effect]
    assert abs(dynamics.steering_offset_rad) <= within.steering_offset_rad
    assert 0 <= dynamics.steering_lag_s <= within.steering_lag_s
    assert dynamics.actuation_delay in range(within.actuation_delay + 1)
    assert dynamics.frame_delay in range(within.frame_delay + 1)
    assert 0 <= dynamics.frame_drop <= within.frame_drop
    assert car.mass_kg == pytest.approx(CAR.mass_kg, rel=within.mass + 1e-12)
    assert car.tyre_friction == pytest.approx(CAR.tyre_friction, rel=within.friction + 1e-12)
    assert car.camera.height_m == pytest.approx(CAR.camera.height_m, rel=within.camera_height + 1e-12)
    assert car.camera.pitch_rad == pytest.approx(CAR.camera.pitch_rad, abs=within.camera_pitch_rad + 1e-12)
    assert car.camera.yaw_rad == pytest.approx(CAR.camera.yaw_rad, abs=within.camera_yaw_rad + 1e-12)
    assert car.camera.fov_rad == pytest.approx(CAR.camera.fov_rad, abs=within.camera_fov_rad + 1e-12)
    assert (car.name, car.wheelbase_m, car.max_steering_rad) == (CAR.name, CAR.wheelbase_m, CAR.max_steering_rad)


def test_everything_that_wild_may_show_comes_up():
    scenes = [drawn(SCENARIOS["wild"], seed) for seed in range(200)]
    looks = [scene.look for scene in scenes]
    for name in ("pavement", "verge", "left_line", "right_line", "lane_line", "left_paint", "lane_paint"):
        table = {"left_paint": "paints", "lane_paint": "paints"}.get(name, f"{name}s")
        assert {getattr(look, name) for look in looks} == set(getattr(SCENARIOS["wild"], table))
    assert {effect for look in looks for effect in look.surface} == set(SURFACE_EFFECTS)
    assert {effect for look in looks for effect in look.camera} == set(CAMERA_EFFECTS)
    assert {scene.dynamics.actuation_delay for scene in scenes} == {0, 1, 2}
    assert {scene.dynamics.frame_delay for scene in scenes} == {0, 1}
    assert len({look.seed for look in looks}) == 200


def test_the_effects_share_is_that_of_the_effects_in_an_episode():
    for share in (0.0, 0.3, 1.0):
        scenario = load_scenario("wild", effect_share=share)
        shown = [set(look.surface) | set(look.camera) for look in (drawn(scenario, seed).look for seed in range(300))]
        found = sum(map(len, shown)) / 300 / len(scenario.effects)
        assert found == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 300 / len(scenario.effects)))


def test_an_effect_of_both_surface_and_camera_shows_in_both():
    """Dusk darkens the road and the sky: one without the other would look wrong."""
    dusk = [drawn(SCENARIOS["wild"], seed).look for seed in range(60)]
    assert any("dusk" in look.surface for look in dusk)
    assert all(look.surface.get("dusk") == look.camera.get("dusk") for look in dusk)


def test_an_effect_of_no_strength_is_absent():
    look = drawn(Scenario(effects={"fog": 0.0, "cracks": 0.0}), 3).look
    assert (look.surface, look.camera) == ({}, {})


def test_effects_are_in_their_tables_order_whatever_the_options():
    backwards = dict.fromkeys([*CAMERA_EFFECTS, *SURFACE_EFFECTS][::-1], 1.0)
    look = drawn(Scenario(effects=backwards), 0).look
    assert list(look.surface) == list(SURFACE_EFFECTS)
    assert list(look.camera) == list(CAMERA_EFFECTS)


def test_the_papers_world_varies_with_nothing_but_the_road():
    first, second = drawn(Scenario(), 1), drawn(Scenario(), 2)
    assert first == second == Scene(STREET, first.look, CAR, Dynamics())
    assert first.look.seed == STREET.seed
    assert first.look.sun_azimuth_rad == 0.0


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_stands_on_the_road_by_default(name):
    assert drawn(SCENARIOS[name], 1).obstacles == ()


def test_obstacles_are_as_many_as_asked_for_and_leads_drive_at_their_part_of_the_top_speed():
    scenario = Scenario(obstacles={"box": 3, "parked car": 2, "lead vehicle": 1}, lead_speed=0.25)
    obstacles = drawn(scenario, 1).obstacles
    assert sorted(o.kind for o in obstacles) == ["box"] * 3 + ["lead vehicle"] + ["parked car"] * 2
    assert {o.speed_mps for o in obstacles} == {0.0, 0.25 * CAR.top_speed_mps}


@pytest.mark.parametrize(
    ("length_m", "obstacles"), [(2.0, {}), (60.0, {"lead vehicle": 8}), (250.0, {"lead vehicle": 8})]
)
def test_where_there_is_no_room_for_obstacles_there_are_fewer(length_m, obstacles):
    scene = drawn(Scenario(obstacles=obstacles), 0, straight(length_m))
    assert len(scene.obstacles) <= 8


def test_seeds_to_train_and_to_judge_on_have_nothing_in_common():
    assert HELD_IN.start == 0
    assert HELD_IN.stop == HELD_OUT.start
    assert len(HELD_IN) == len(HELD_OUT) == 2**30
    assert HELD_OUT.stop == 2**31


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_an_imported_track_is_scaled_to_the_vehicle(tmp_path, vehicle):
    car = load_vehicle(vehicle)
    road = draw_road(Scenario(track=str(write_circuit(tmp_path / "oval.csv"))), car, 0)
    assert road.closed
    assert road.unit_m == car.scale
    assert np.median(road.left_m + road.right_m) == pytest.approx(6.0 * car.scale)
    assert np.median(road.left_m) == pytest.approx(2 * np.median(road.right_m))
    # Ramanujan's circumference of an ellipse with half axes of 120 m and 60 m
    a, b = 120.0, 60.0
    h = ((a - b) / (a + b)) ** 2
    lap_m = math.pi * (a + b) * (1 + 3 * h / (10 + math.sqrt(4 - 3 * h)))
    assert road.length_m == pytest.approx(lap_m * car.scale, rel=1e-3)


def test_one_of_a_folder_of_tracks_is_drawn_by_the_roads_seed(tmp_path):
    for i, radius_m in enumerate((40.0, 60.0, 80.0)):
        write_circuit(tmp_path / f"{i}.csv", radius_m)
    scenario = Scenario(track=str(tmp_path))
    roads = [draw_road(scenario, CAR, seed) for seed in range(12)]
    assert len({round(road.length_m) for road in roads}) == 3
    assert same(roads[4], draw_road(scenario, CAR, 4))


def test_a_track_that_is_not_there_is_refused_in_one_line(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(TrackError) as caught:
            draw_road(Scenario(track=str(path)), CAR, 0)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2
