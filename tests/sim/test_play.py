"""A person with a keyboard can drive the environment, and is told what came of it."""

import io
import re
from contextlib import closing
from dataclasses import replace

import numpy as np
import pygame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import sim.play
from sim.options import ScenarioError
from sim.play import HELP, Drive, Keyboard, PlayConfig, play
from sim.scenario import SCENARIOS, Scenario
from sim.window import Keys, Window
from tests.sim.scenes import pure_pursuit

NOTHING = Keys()
PERIODS_IN_PAUSE = 10  # 1 s at 10 Hz
MIRROR = {"left": "right", "right": "left", "up": "up", "down": "down", "space": "space"}


def hold(*names: str) -> Keys:
    return Keys(held=frozenset(names))


def tap(name: str) -> Keys:
    return Keys(held=frozenset({name}), pressed=frozenset({name}))


@pytest.fixture
def drive():
    with closing(Drive(PlayConfig())) as drive:
        yield drive


def driver(drive: Drive) -> Keys:
    """What somebody who looks ahead holds down: up, and left or right when steering is off by more than a tap."""
    wanted = pure_pursuit(drive.env.world)[0] - drive.keyboard.steering
    sideways = "left" if wanted > 0.06 else "right" if wanted < -0.06 else "up"
    return hold("up", sideways)


def leave_the_lane(drive: Drive) -> None:
    while not drive.disengagements:
        drive.tick(hold("up", "left"))


# -- keyboard


@pytest.mark.parametrize(("key", "steering"), [("left", 0.6), ("a", 0.6), ("right", -0.6), ("d", -0.6)])
def test_half_a_second_of_a_key_steers_by_its_rate(key, steering):
    keyboard = Keyboard()
    action = [keyboard.read({key}, 0.1) for _ in range(5)][-1]
    assert action.tolist() == pytest.approx([steering, -1.0])
    assert action.dtype == np.float32


def test_steering_stops_at_full_lock():
    keyboard = Keyboard()
    assert keyboard.read({"left"}, 10.0)[0] == 1.0
    assert keyboard.read({"left"}, 0.1)[0] == 1.0


@pytest.mark.parametrize("steering", [0.5, -0.5])
def test_let_go_it_springs_back_to_the_centre_and_stays_there(steering):
    keyboard = Keyboard(steering)
    sides = [float(keyboard.read(set(), 0.1)[0] / np.sign(steering)) for _ in range(5)]
    assert sides == pytest.approx([0.32, 0.14, 0.0, 0.0, 0.0])  # at 1.8 per second


def test_steering_the_other_way_goes_with_the_spring():
    assert Keyboard(0.6).read({"right"}, 0.1)[0] == pytest.approx(0.6 - 0.18 - 0.12)


def test_left_and_right_at_once_are_as_none():
    assert Keyboard(0.5).read({"left", "right"}, 0.1).tolist() == Keyboard(0.5).read(set(), 0.1).tolist()


@pytest.mark.parametrize(("up", "down"), [("up", "down"), ("w", "s")])
def test_the_speed_stays_where_it_was_put(up, down):
    keyboard = Keyboard()
    assert keyboard.read({up}, 1.5)[1] == pytest.approx(0.5)
    assert keyboard.read(set(), 5.0)[1] == pytest.approx(0.5)
    assert keyboard.read({down}, 0.25)[1] == pytest.approx(0.25)
    assert keyboard.read({up}, 9.0)[1] == 1.0


def test_space_brakes_at_once_whatever_else_is_held():
    assert Keyboard(speed=1.0).read({"space", "up"}, 0.1)[1] == -1.0


@given(st.lists(st.tuples(st.sets(st.sampled_from(list(MIRROR))), st.floats(0, 2)), max_size=20))
def test_the_action_is_in_range_and_mirrored_keys_mirror_it(strokes):
    ours, mirrored = Keyboard(), Keyboard()
    for held, duration_s in strokes:
        steering, speed = ours.read(held, duration_s)
        assert -1 <= steering <= 1
        assert -1 <= speed <= 1
        assert mirrored.read({MIRROR[key] for key in held}, duration_s).tolist() == [-steering, speed]


# -- a drive


def test_the_world_waits_for_somebody_to_drive_off(drive):
    for _ in range(80):  # 8 s; who does not move for 5 s is stuck
        drive.tick(NOTHING)
    assert drive.banner == HELP
    assert (drive.driven_m, drive.disengagements) == (0.0, 0)
    for _ in range(5):
        drive.tick(hold("up"))
    assert drive.banner == ""
    assert drive.driven_m == drive.info["distance_m"] > 0.1


def test_space_brings_the_car_to_rest_where_the_world_waits_again(drive):
    for _ in range(15):
        drive.tick(hold("up"))
    for _ in range(80):
        drive.tick(hold("space"))
    assert drive.banner == HELP
    assert drive.speed_mps == pytest.approx(0.0, abs=0.03)
    assert drive.disengagements == 0


def test_the_whole_route_can_be_driven_by_keys(drive):
    while not drive.info["finished"]:
        drive.tick(driver(drive))
        assert drive.disengagements == 0
    assert drive.driven_m >= 250.0
    assert "end of the route" in drive.banner
    for _ in range(PERIODS_IN_PAUSE):
        assert "end of the route" in drive.banner
        drive.tick(hold("up"))
    assert (drive.info["distance_m"], drive.banner) == (0.0, HELP)
    assert drive.driven_m == pytest.approx(250.0, abs=0.5)


def test_after_a_disengagement_the_car_is_put_back_where_it_left(drive):
    leave_the_lane(drive)
    left_at_m = drive.info["distance_m"]
    assert drive.driven_m == pytest.approx(left_at_m)
    for _ in range(PERIODS_IN_PAUSE):
        assert "off lane" in drive.banner
        assert drive.info["disengagement"] == "off lane"
        drive.tick(hold("up", "left"))
    assert drive.info["disengagement"] is None
    assert drive.info["distance_m"] == pytest.approx(left_at_m, abs=0.01)
    assert drive.info["lateral_offset_m"] == pytest.approx(0.0, abs=0.01)
    assert (drive.disengagements, drive.keyboard.steering, drive.speed_mps) == (1, 0.0, 0.0)


def test_a_car_is_put_back_in_the_scene_that_it_left():
    with closing(Drive(PlayConfig("wild"))) as drive:
        before = drive.env.world.scene
        leave_the_lane(drive)
        for _ in range(PERIODS_IN_PAUSE):
            drive.tick(NOTHING)
        after = drive.env.world.scene
    assert (before.look, before.vehicle, before.dynamics) == (after.look, after.vehicle, after.dynamics)


def test_who_has_hit_something_is_put_back_beyond_it(monkeypatch):
    monkeypatch.setitem(SCENARIOS, "paper", replace(Scenario(), obstacles={"lead vehicle": 1}, lead_speed=0.1))
    with closing(Drive(PlayConfig())) as drive:
        while not drive.disengagements:
            drive.tick(driver(drive))
        assert drive.info["disengagement"] == "collision"
        hit_at_m = drive.info["distance_m"]
        for _ in range(PERIODS_IN_PAUSE):
            drive.tick(NOTHING)
        assert drive.info["distance_m"] == pytest.approx(hit_at_m + 8.0, abs=0.01)


def test_r_restarts_the_road_and_keeps_the_tally(drive):
    leave_the_lane(drive)
    driven_m = drive.driven_m
    drive.tick(tap("r"))
    assert (drive.info["distance_m"], drive.banner, drive.keyboard) == (0.0, HELP, Keyboard())
    assert (drive.road_seed, drive.driven_m, drive.disengagements) == (0, driven_m, 1)


def test_n_takes_the_next_road_in_another_scene_and_r_the_same_once_more():
    with closing(Drive(PlayConfig("wild", road_seed=7))) as drive:
        first = drive.env.world.scene
        drive.tick(tap("r"))
        assert drive.env.world.scene.look == first.look
        drive.tick(tap("n"))
        following = drive.env.world.scene
        assert (first.road.seed, following.road.seed, drive.road_seed) == (7, 8, 8)
        assert following.look.seed != first.look.seed


@pytest.mark.parametrize(("roads", "seeds"), [("held_in", range(2**30)), ("held_out", range(2**30, 2**31))])
def test_held_in_and_held_out_roads_are_drawn_from_their_seeds(roads, seeds):
    drawn = []
    for _ in range(2):
        with closing(Drive(PlayConfig(roads=roads, seed=5))) as drive:
            drawn.append([drive.road_seed])
            drive.tick(tap("n"))
            drawn[-1].append(drive.road_seed)
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 2
    assert all(seed in seeds for seed in drawn[0])


class Kept:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.starts, self.steps = [], []

    def start(self, *moment) -> None:
        self.starts.append(moment)

    def step(self, *step) -> None:
        self.steps.append(step)


def test_a_recorder_is_told_every_start_and_every_step(monkeypatch):
    kept = Kept()
    with closing(Drive(PlayConfig(), kept)) as drive:
        (image, state, info, seed) = kept.starts[0]
        assert image.shape == (64, 64, 3)
        assert state.tolist() == [0.0, 0.0, 0.0, -1.0]
        assert (info["distance_m"], seed) == (0.0, 0)
        for _ in range(20):
            drive.tick(NOTHING)
        assert kept.steps == []  # the world waits
        leave_the_lane(drive)
        assert [step[5] for step in kept.steps] == [False] * (len(kept.steps) - 1) + [True]
        assert sum(step[1] for step in kept.steps) == pytest.approx(drive.driven_m)
        assert kept.steps[3][0][1] == pytest.approx(-0.6)  # up for 0.4 s
        assert np.array_equal(kept.steps[-1][2], drive.env.task.frame)
        for _ in range(PERIODS_IN_PAUSE):
            drive.tick(NOTHING)
        assert len(kept.starts) == 2
        drive.tick(tap("n"))
        assert len(kept.starts) == 3


def test_the_readings_tell_speed_steering_place_and_the_tally(drive):
    shown = {label: value for value, label in drive.readings}
    assert shown == {
        "of 0.0 asked": "0.0 km/h",
        "steering": "0° left",
        "off the centre": "0.00 m left",
        "along road 0": "0 / 250 m",
        "disengagements": "none",
    }
    leave_the_lane(drive)
    values = [value for value, _ in drive.readings]
    assert values[1:3] == [
        f"{np.degrees(drive.env.world.steering_rad):.0f}° left",
        f"{drive.info['lateral_offset_m']:.2f} m left",
    ]
    assert values[4] == f"1 × {drive.driven_m:.1f} m"


def test_the_summary_counts_metres_for_each_disengagement(drive):
    drive.driven_m = 61.0
    assert drive.summary == "61.0 m driven, disengagements: 0"
    drive.disengagements = 4
    assert drive.summary == "61.0 m driven, disengagements: 4, metres per disengagement: 15.2"


# -- the command


@pytest.fixture
def hands(monkeypatch):
    """Lets keys go down before given frames of the window; returns the pictures it was given."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    shown = []

    def plan(strokes: dict[int, str]) -> list[np.ndarray]:
        class Hands(Window):
            def show(self, picture, readings=(), banner=""):
                if len(shown) in strokes:
                    key = pygame.key.key_code(strokes[len(shown)])
                    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
                shown.append(picture)
                super().show(picture, readings, banner)

        monkeypatch.setattr(sim.play, "Window", Hands)
        return shown

    return plan


@pytest.mark.parametrize("last", ["q", "escape"])
def test_a_drive_from_the_first_key_to_the_last_prints_one_line(hands, last):
    shown = hands({2: "up", 6: "a", 50: last})
    said = io.StringIO()
    play(PlayConfig(), Console(file=said, width=200), fps=0)
    assert len(shown) == 51
    assert np.array_equal(shown[0], shown[2])  # nobody has touched a key yet
    assert not np.array_equal(shown[2], shown[10])
    line = r"(\S+) m driven, disengagements: (\d+), metres per disengagement: (\S+)\n"
    figures = re.fullmatch(line, said.getvalue())
    assert figures is not None
    driven_m, disengagements, each_m = map(float, figures.groups())
    assert driven_m > 1.5  # half the lane's width, at least
    assert each_m == pytest.approx(driven_m / disengagements, abs=0.1)


def test_closing_the_window_ends_the_drive(hands, monkeypatch):
    shown = hands({})
    said = io.StringIO()
    monkeypatch.setattr(Drive, "tick", lambda drive, keys: pygame.event.post(pygame.event.Event(pygame.QUIT)))
    play(PlayConfig(), Console(file=said), fps=0)
    assert len(shown) == 1
    assert said.getvalue() == "0.0 m driven, disengagements: 0\n"


def test_an_unknown_scenario_is_refused_before_a_window_opens(hands):
    shown = hands({})
    with pytest.raises(ScenarioError, match="mars"):
        play(PlayConfig(scenario="mars"), Console(), fps=0)
    assert not shown


def test_traffic_and_a_track_are_there_when_asked_for(tmp_path):
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    rows = [f"{40 * np.cos(a):.3f}, {40 * np.sin(a):.3f}, 3.0, 3.0" for a in angle]
    (tmp_path / "ring.csv").write_text("# x_m, y_m, w_tr_right_m, w_tr_left_m\n" + "\n".join(rows))
    with closing(Drive(PlayConfig(track=str(tmp_path / "ring.csv"), traffic=2))) as drive:
        world = drive.env.world
        assert world.road.closed
        assert {obstacle.kind for obstacle in world.scene.obstacles} == {"box", "cone", "parked car"}
    with closing(Drive(PlayConfig())) as drive:
        assert not drive.env.world.road.closed
        assert drive.env.world.scene.obstacles == ()
