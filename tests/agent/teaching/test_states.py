"""A session of teaching as a state machine: what a safety driver says, and what becomes of it."""

from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.teaching.states import Effect, Event, Teaching, after
from deploy.safety_drivers import Order

ENDS = {"disengaged", "finished", "broken off", "cut off"}
EVENTS: list[Event] = [*get_args(Order), "takeover", "finished", "in place", "caught up", "stalled"]
events = st.lists(st.sampled_from([*EVENTS, "in place", "caught up", "train"]), max_size=60)


START = Teaching()


def lived(told: Sequence[Event], start: Teaching = START) -> tuple[Teaching, list[Effect]]:
    """Where a session stands after all these events, and all that was done."""
    now, done = start, []
    for event in told:
        now, effects = after(now, event)
        done += effects
    return now, done


DRIVING: list[Event] = ["in place", "caught up"]
TRAINING = Teaching("driving", "train", undoable=True)


def test_an_episode_begins_when_the_car_is_in_place_and_the_learner_has_caught_up():
    assert lived(["train"])[0].phase == "placing"
    assert lived(["train", "caught up"])[0].phase == "placing"
    assert lived(["train", "in place"]) == (Teaching("waiting", "train"), [])
    assert lived(["train", *DRIVING]) == (TRAINING, ["begin"])
    assert lived(["test", *DRIVING]) == (Teaching("driving", "test"), ["begin"])


@pytest.mark.parametrize(
    ("event", "phase", "effects"),
    [
        ("takeover", "standing", ["disengaged"]),
        ("train", "standing", ["disengaged"]),  # any key takes over; the car does not drive off again by itself
        ("test", "standing", ["disengaged"]),
        ("finished", "standing", ["finished"]),
        ("pause", "standing", ["broken off"]),
        ("undo", "standing", ["broken off", "undo"]),
        ("done", "done", ["broken off"]),
        ("stalled", "standing", ["cut off"]),
        ("in place", "driving", []),
        ("caught up", "driving", []),
    ],
)
def test_what_ends_a_training_episode_and_how(event, phase, effects):
    now, done = lived([event], TRAINING)
    assert (now.phase, done) == (phase, effects)


def test_a_task_that_was_asked_for_can_be_changed_or_called_off():
    assert lived(["train", "in place", "test"])[0] == Teaching("placing", "test")
    assert lived(["train", "in place", "pause"])[0].phase == "standing"
    assert lived(["train", "in place", "stalled", "caught up"]) == (Teaching("standing", "train"), [])
    assert lived(["train", "takeover", "in place", "caught up"]) == (Teaching("standing", "train"), [])


def test_undo_during_a_test_undoes_the_training_before_it():
    _, done = lived(["train", *DRIVING, "takeover", "test", *DRIVING, "undo"])
    assert done == ["begin", "disengaged", "begin", "broken off", "undo"]


def test_a_second_undo_has_nothing_to_undo():
    _, done = lived(["train", *DRIVING, "takeover", "undo", "undo", "undo"])
    assert done.count("undo") == 1
    assert lived(["undo", "test", *DRIVING, "undo"])[1] == ["begin", "broken off"]


@given(events)
def test_episodes_begin_and_end_by_turns(told):
    now, done = lived(told)
    turns = [effect for effect in done if effect != "undo"]
    assert all((effect == "begin") == (i % 2 == 0) for i, effect in enumerate(turns))
    assert (now.phase == "driving") == (len(turns) % 2 == 1)


@given(events)
def test_the_car_never_drives_but_between_begin_and_end(told):
    now, driving = Teaching(), False
    for event in told:
        now, effects = after(now, event)
        for effect in effects:
            driving = effect == "begin" or (driving and effect not in ENDS)
        assert (now.phase == "driving") == driving


@given(events, st.sampled_from([*get_args(Order), "takeover", "finished"]))
def test_whatever_a_person_says_stops_a_driving_car(told, said):
    now, _ = lived(told)
    if now.phase == "driving":
        assert after(now, said)[0].phase in ("standing", "done")


@given(events)
def test_every_undo_has_a_training_episode_of_its_own_that_began_before(told):
    now, open_for_undo = Teaching(), False
    for event in told:
        now, effects = after(now, event)
        for effect in effects:
            assert effect != "undo" or open_for_undo
            open_for_undo = (effect == "begin" and now.task == "train") or (open_for_undo and effect != "undo")


@given(events, events)
def test_done_is_done(told, more):
    now, _ = lived([*told, "done"])
    assert now.phase == "done"
    assert lived(more, now) == (now, [])


@given(events)
def test_the_task_under_way_never_changes(told):
    now = Teaching()
    for event in told:
        before, (now, _) = now, after(now, event)
        assert now.task == before.task or now.phase == "placing"
