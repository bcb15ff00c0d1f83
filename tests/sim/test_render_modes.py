"""A drive can be seen, and where there is no screen that is said in one line."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from sim.lane_following import LaneFollowing
from sim.options import ScenarioError
from sim.window import WindowError
from tests.sim.scenes import wander

AHEAD = np.array([0.0, 1.0], np.float32)
TRAFFIC = {"box": 4, "cone": 4, "parked car": 3, "lead vehicle": 2}


def test_a_picture_is_the_cameras_frame_a_chase_view_and_a_map(make):
    for grayscale in (False, True):
        env = make(scenario="wild", roads="held_in", render_mode="rgb_array", grayscale=grayscale, obstacles=TRAFFIC)
        pictures = []
        for seed in (0, 1):
            env.reset(seed=seed)
            wander(env, 5)
            pictures.append(env.render())
        for picture in pictures:
            assert (picture.shape, picture.dtype) == ((384, 704, 3), np.uint8)
            assert picture.std() > 10
        assert not np.array_equal(*pictures)


def test_a_window_shows_the_drive_and_closes(make, monkeypatch):
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = make(render_mode="human", length_m=60.0)
    env.reset(seed=0)
    shown = pygame.surfarray.array3d(pygame.display.get_surface())
    assert shown.std() > 10
    for _ in range(3):
        env.step(AHEAD)
    assert env.render() is None
    assert not np.array_equal(shown, pygame.surfarray.array3d(pygame.display.get_surface()))
    env.close()
    env.close()
    assert not pygame.display.get_init()


def test_an_environment_that_cannot_be_made_leaves_no_window_open(monkeypatch):
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    with pytest.raises(ScenarioError):
        LaneFollowing(render_mode="human", scenario="moon")
    left_open = pygame.display.get_init()
    pygame.display.quit()
    assert not left_open


def test_without_a_screen_pybullets_window_is_refused_in_one_line_and_the_process_lives(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(WindowError, match=r"^PyBullet's window needs a screen, but DISPLAY names none$") as caught:
        gymnasium.make("sim:LaneFollowing-v0", render_mode="bullet")
    assert caught.value.exit_code == 2


def test_nor_does_a_wrong_screen_end_the_process():
    program = (
        "import os; os.environ['DISPLAY'] = ':4242'\n"
        "from sim.lane_following import LaneFollowing\n"
        "from sim.window import WindowError\n"
        "try: LaneFollowing(render_mode='bullet')\n"
        "except WindowError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split()[-1:] == ["refused"]
