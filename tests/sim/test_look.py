"""A look is refused when it names what there is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.effects import CAMERA_EFFECTS, SURFACE_EFFECTS
from sim.look import Look, LookError


@pytest.mark.parametrize("field", ["pavement", "verge", "left_line", "right_line", "lane_line"])
def test_an_unknown_name_is_refused_by_field_and_choices(field):
    with pytest.raises(LookError, match=f"{field} is 'lava', expected one of ") as refusal:
        Look(**{field: "lava"})
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize("field", ["left_paint", "right_paint", "lane_paint"])
def test_paint_is_white_or_yellow(field):
    with pytest.raises(LookError, match=f"{field} is 'pink', expected one of white, yellow"):
        Look(**{field: "pink"})


@pytest.mark.parametrize("table", ["surface", "camera"])
def test_an_unknown_effect_is_refused(table):
    with pytest.raises(LookError, match=f"{table} is 'locusts'"):
        Look(**{table: {"locusts": 0.5}})


@given(strength=st.floats().filter(lambda strength: not 0 < strength <= 1))
def test_a_strength_that_is_not_above_0_and_at_most_1_is_refused(strength):
    with pytest.raises(LookError, match="strength of 'fog' is"):
        Look(camera={"fog": strength})


def test_every_effect_is_accepted_at_full_strength():
    look = Look(surface=dict.fromkeys(SURFACE_EFFECTS, 1.0), camera=dict.fromkeys(CAMERA_EFFECTS, 1.0))
    assert list(look.surface) == list(SURFACE_EFFECTS)
