"""A scenario accepts what can be driven and refuses everything else in one line."""

from dataclasses import asdict, fields, replace

import numpy as np
import pytest

from sim.dynamics import DynamicsRange
from sim.effects import CAMERA_EFFECTS, SURFACE_EFFECTS
from sim.options import ScenarioError
from sim.scenario import EFFECTS, SCENARIOS, Scenario, load_scenario

NAN, INFINITE = float("nan"), float("inf")

UNKNOWN = [
    ("topology", "spiral", "open, circuit"),
    ("topology", "", "open, circuit"),
    ("topology", ("open",), "open, circuit"),  # of this one only a name
    ("pavements", ("ice",), "asphalt, concrete, gravel"),
    ("pavements", ("asphalt", "ice"), "asphalt, concrete, gravel"),
    ("pavements", (), "asphalt, concrete, gravel"),
    ("pavements", "asphalt", "asphalt, concrete, gravel"),  # a lone name, of which the letters would be drawn
    ("verges", ("sand",), "grass, gravel, kerb"),
    ("verges", "grass", "grass, gravel, kerb"),
    ("left_lines", ("zigzag",), "none, solid, dashed, double"),
    ("right_lines", "solid", "none, solid, dashed, double"),
    ("lane_lines", ("",), "none, solid, dashed, double"),
    ("paints", ("green",), "white, yellow"),
    ("effects", {"snow": 0.5}, "line wear, patches"),
    ("effects", "fog", "line wear, patches"),
    ("obstacles", {"cow": 1}, "box, cone, parked car, lead vehicle"),
    ("obstacles", "box", "box, cone, parked car, lead vehicle"),
]

OUT_OF_RANGE = [
    ("lane_width_m", (3.0, 2.9)),
    ("lane_width_m", (0.0, 3.0)),
    ("lane_width_m", (-1.0, 3.0)),
    ("lane_width_m", (NAN, 3.0)),
    ("lane_width_m", (3.0, NAN)),
    ("length_m", 0.0),
    ("length_m", -250.0),
    ("length_m", NAN),
    ("min_radius_m", 0.0),
    ("min_radius_m", -14.0),
    ("min_radius_m", NAN),
    ("lanes", ()),
    ("lanes", (0,)),
    ("lanes", (1, 0)),
    ("lanes", (2, -1)),
    ("effect_share", -0.1),
    ("effect_share", 1.1),
    ("effect_share", NAN),
    ("lead_speed", 0.0),
    ("lead_speed", -0.5),
    ("lead_speed", 1.01),
    ("lead_speed", NAN),
]

BAD_AMOUNTS = [("effects", "fog", amount) for amount in (-0.1, 1.1, NAN, INFINITE)] + [
    ("obstacles", "box", amount) for amount in (-1, -0.5, NAN)
]

ENDLESS = [("length_m", INFINITE), ("lane_width_m", (3.0, INFINITE)), ("min_radius_m", INFINITE)]
FRACTIONS = [("lanes", (1.5,)), ("obstacles", {"box": 1.5})]
OF_ANOTHER_TYPE = [
    ("topology", ["open"]),
    ("track", 5),
    ("track", None),
    ("length_m", "long"),
    ("min_radius_m", None),
    ("lanes", 2),
    ("lanes", "12"),
    ("lane_width_m", 3.0),
    ("lane_width_m", (3.0,)),
    ("lane_width_m", (2.0, 3.0, 4.0)),
    ("lane_width_m", "ab"),
    ("pavements", None),
    ("pavements", 3),
    ("paints", (["white"],)),
    ("effects", ("fog",)),
    ("effects", None),
    ("effects", {"fog": "strong"}),
    ("effect_share", "all"),
    ("dynamics", "harsh"),
    ("obstacles", ("box",)),
    ("obstacles", {"box": "many"}),
    ("lead_speed", None),
]

SHARES = ["mass", "friction", "camera_height", "frame_drop"]
AMOUNTS = [
    "steering_offset_rad",
    "steering_lag_s",
    "camera_pitch_rad",
    "camera_yaw_rad",
    "camera_fov_rad",
]
DELAYS = ["actuation_delay", "frame_delay"]
BAD_DYNAMICS = (
    [(name, found) for name in SHARES for found in (-0.1, 1.1, NAN)]
    + [(name, found) for name in AMOUNTS for found in (-0.1, NAN, INFINITE)]
    + [(name, found) for name in DELAYS for found in (-1, 4, 1.5, NAN)]
)


def refusal(**options: object) -> str:
    """What a scenario with these options is refused with, which is one line."""
    with pytest.raises(ScenarioError) as caught:
        Scenario(**options)
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_preset_is_valid_and_loads_by_its_name(name):
    assert load_scenario(name) == SCENARIOS[name] == replace(SCENARIOS[name])  # checked once more


def test_the_presets_are_those_that_were_announced_and_paper_varies_nothing():
    assert list(SCENARIOS) == ["paper", "country", "circuit", "wild"]
    assert SCENARIOS["paper"] == Scenario()
    assert not any(asdict(Scenario().dynamics).values())
    assert not Scenario().effects


def test_wild_may_show_every_effect_there_is():
    assert set(SCENARIOS["wild"].effects) == set(SURFACE_EFFECTS) | set(CAMERA_EFFECTS) == set(EFFECTS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_obstacles_are_off_by_default(name):
    assert not SCENARIOS[name].obstacles


@pytest.mark.parametrize(("option", "found", "table"), UNKNOWN)
def test_a_name_that_there_is_not_is_refused_with_those_there_are(option, found, table):
    assert refusal(**{option: found}).startswith(f"{option} is {found!r}; expected names of {table}")


@pytest.mark.parametrize(("option", "found"), OUT_OF_RANGE)
def test_an_impossible_number_is_refused(option, found):
    message = refusal(**{option: found})
    assert message.startswith(f"{option} is {found!r}; expected ")
    assert len(message) > len(f"{option} is {found!r}; expected ")


@pytest.mark.parametrize(("option", "name", "amount"), BAD_AMOUNTS)
def test_an_impossible_amount_is_refused_by_the_name_of_what_it_is_of(option, name, amount):
    assert refusal(**{option: {name: amount}}).startswith(f"{option}[{name!r}] is {amount!r}; expected ")


@pytest.mark.parametrize(("name", "found"), BAD_DYNAMICS)
def test_an_impossible_randomisation_of_the_car_is_refused(name, found):
    message = refusal(dynamics=DynamicsRange(**{name: found}))
    assert message.startswith(f"dynamics.{name} is {found!r}; expected ")


def test_all_that_may_be_randomised_was_tried():
    assert {*SHARES, *AMOUNTS, *DELAYS} == {field.name for field in fields(DynamicsRange)}


@pytest.mark.parametrize(
    "dynamics", [DynamicsRange(actuation_delay=3, frame_delay=3, frame_drop=0.99), DynamicsRange(mass=0.99)]
)
def test_the_greatest_randomisation_is_accepted(dynamics):
    assert Scenario(dynamics=dynamics).dynamics == dynamics


@pytest.mark.parametrize(
    "options",
    [
        {"effects": {"fog": 1.0, "cracks": 0.0}},
        {"effects": {}},
        {"obstacles": {"box": 0, "cone": 20}},
        {"effect_share": 0.0},
        {"effect_share": 1.0},
        {"lead_speed": 1.0},
        {"lane_width_m": (3.0, 3.0)},
        {"pavements": ["gravel"]},  # as JSON has it
    ],
)
def test_the_ends_of_the_ranges_are_accepted(options):
    assert Scenario(**options) == replace(Scenario(), **options)


@pytest.mark.parametrize(("option", "found"), ENDLESS)
def test_an_endless_road_is_refused(option, found):
    assert refusal(**{option: found}).startswith(f"{option} is {found!r}; expected ")


@pytest.mark.parametrize(("option", "found"), FRACTIONS + OF_ANOTHER_TYPE)
def test_a_value_of_another_type_is_refused(option, found):
    """Here a user's options come in, of whatever type they are."""
    with pytest.raises(ScenarioError) as caught:
        load_scenario("paper", **{option: found})
    assert str(caught.value).startswith(f"{option} is {found!r}; expected ")
    assert "\n" not in str(caught.value)


def test_a_preset_can_be_changed_in_any_field_and_stays_itself_otherwise():
    changed = load_scenario("wild", length_m=60.0, effects={})
    assert changed == replace(SCENARIOS["wild"], length_m=60.0, effects={})
    assert SCENARIOS["wild"].length_m == 250.0


def test_a_changed_preset_is_checked_too():
    with pytest.raises(ScenarioError, match=r"^length_m is -1\.0; expected more than 0$"):
        load_scenario("country", length_m=-1.0)


def test_a_randomisation_may_be_given_by_names_as_json_has_it():
    found = load_scenario("paper", dynamics={"mass": 0.1, "frame_delay": 2})
    assert found.dynamics == DynamicsRange(mass=0.1, frame_delay=2)


def test_an_unknown_randomisation_is_refused():
    with pytest.raises(ScenarioError, match="weight"):
        load_scenario("paper", dynamics={"weight": 0.1})


def test_numpys_numbers_are_numbers():
    found = load_scenario("paper", length_m=np.float32(60), lead_speed=np.float64(0.25))
    assert (found.length_m, found.lead_speed) == (60.0, 0.25)


def test_and_so_they_are_within_a_range():
    assert load_scenario("paper", lane_width_m=(np.float64(2.5), np.float64(3.5))).lane_width_m == (2.5, 3.5)


def test_an_unknown_preset_is_refused_with_those_there_are():
    with pytest.raises(ScenarioError, match=r"^scenario is 'moon'; expected one of paper, country, circuit, wild$"):
        load_scenario("moon")


def test_an_unknown_field_is_refused():
    with pytest.raises(ScenarioError, match="width") as caught:
        load_scenario("paper", width=3)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
