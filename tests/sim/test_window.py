"""A window shows pictures undistorted, in time, reads the keys, and says in one line why it cannot open."""

import subprocess
import sys
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pygame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.window import DARK, Keys, Window, WindowError

RED = np.array([200, 30, 10], np.uint8)
SIDES = st.integers(20, 200)


@pytest.fixture(autouse=True)
def _no_real_screen(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@pytest.fixture
def window():
    with closing(Window((80, 60), "test", fps=0)) as window:
        yield window


def red(width: int, height: int) -> np.ndarray:
    return np.tile(RED, (height, width, 1))


def shown() -> np.ndarray:
    """What is on the screen, (h, w, 3)."""
    screen = pygame.display.get_surface()
    assert screen is not None
    return pygame.surfarray.array3d(screen).swapaxes(0, 1)


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The smallest rectangle around what is true: left, top, width, height."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1


def press(*names: str) -> None:
    for name in names:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.key.key_code(name)))


def release(*names: str) -> None:
    for name in names:
        pygame.event.post(pygame.event.Event(pygame.KEYUP, key=pygame.key.key_code(name)))


# -- pictures


def test_a_picture_of_the_windows_size_is_shown_as_it_is(window):
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    window.show(picture)
    assert np.array_equal(shown(), picture)


def test_a_picture_seen_through_a_strided_view_is_shown_too(window):
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    window.show(picture[:, ::-1])
    assert np.array_equal(shown(), picture[:, ::-1])


@settings(max_examples=40)
@given(window_px=st.tuples(SIDES, SIDES), picture_px=st.tuples(SIDES, SIDES))
def test_a_picture_keeps_its_form_in_the_middle_of_any_window(window_px, picture_px):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDL_VIDEODRIVER", "dummy")
        with closing(Window(window_px, "test", fps=0)) as window:
            window.show(red(*picture_px))
            left, top, width, height = box((shown() != DARK).any(axis=2))
    scale = min(window_px[0] / picture_px[0], window_px[1] / picture_px[1])
    assert (width, height) == pytest.approx((scale * picture_px[0], scale * picture_px[1]), abs=1)
    assert (left + width / 2, top + height / 2) == pytest.approx((window_px[0] / 2, window_px[1] / 2), abs=1)


def test_the_rest_of_a_window_is_dark(window):
    window.show(red(80, 20))
    assert (shown()[:20] == DARK).all()
    assert (shown()[40:] == DARK).all()


def test_a_resized_window_shows_the_picture_larger(window):
    pygame.display.set_mode((160, 120), pygame.RESIZABLE)
    window.show(red(80, 60))
    assert (shown() == RED).all()
    assert shown().shape == (120, 160, 3)


def test_a_window_may_be_smaller_than_what_it_is_to_show(window):
    pygame.display.set_mode((90, 1), pygame.RESIZABLE)
    window.show(red(80, 60), [("12.5 km/h", "speed")], "off lane")
    assert window.open


def test_readings_stand_below_the_picture_in_columns_and_leave_it_whole():
    with closing(Window((400, 230), "test", fps=0)) as window:
        window.show(red(400, 200), [("12.5 km/h", "speed"), ("", ""), ("3 m", "left")])
        screen = shown()
    assert (screen[:200] == RED).all()
    inked = (screen[200:] != DARK).any(axis=(0, 2))
    assert inked[:133].any()
    assert not inked[133:266].any()
    assert inked[266:].any()


def test_a_banner_lies_across_the_top_half_of_the_picture():
    with closing(Window((400, 200), "test", fps=0)) as window:
        window.show(red(400, 200), banner="off lane")
        left, top, width, height = box((shown() != RED).any(axis=2))
    assert top > 0
    assert top + height < 100
    assert left + width / 2 == pytest.approx(200, abs=1)


def test_a_picture_stays_for_its_part_of_a_second(monkeypatch):
    waited = []
    monkeypatch.setattr(pygame.time, "Clock", lambda: SimpleNamespace(tick=waited.append))
    with closing(Window((80, 60), "test", fps=12.5)) as window:
        window.show(red(80, 60))
        window.show(red(80, 60))
    assert waited == [12.5, 12.5]


# -- keys


def test_a_key_is_held_until_it_is_let_go_and_pressed_once(window):
    press("left", "r")
    window.show(red(8, 6))
    assert window.keys == Keys(held=frozenset({"left", "r"}), pressed=frozenset({"left", "r"}))
    release("r")
    window.show(red(8, 6))
    assert window.keys == Keys(held=frozenset({"left"}), pressed=frozenset())
    release("left")
    window.show(red(8, 6))
    assert window.keys == Keys()


def test_a_tap_between_two_pictures_is_not_missed(window):
    press("space")
    release("space")
    window.show(red(8, 6))
    assert window.keys.held == {"space"}
    window.show(red(8, 6))
    assert window.keys.held == set()


# -- closing


def test_the_close_button_ends_it_and_showing_more_is_harmless(window):
    press("up")
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    window.show(red(8, 6))
    assert not window.open
    assert window.keys == Keys()
    window.show(red(8, 6))
    window.close()
    assert not window.open


def test_a_window_that_another_user_of_pygame_has_taken_away_counts_as_closed(window):
    pygame.quit()
    window.show(red(8, 6))
    assert not window.open


def test_a_window_can_be_opened_after_another_was_closed(window):
    window.close()
    with closing(Window((80, 60), "next", fps=0)) as following:
        following.show(red(80, 60))
        assert (shown() == RED).all()


# -- what may be missing


def test_without_pygame_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(WindowError, match="pip install pygame-ce") as error:
        Window((80, 60), "test", fps=0)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("driver", [None, "x11"])
def test_without_a_screen_it_says_so(monkeypatch, tmp_path, driver):
    for name in ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    if driver:
        monkeypatch.setenv("SDL_VIDEODRIVER", driver)
    with pytest.raises(WindowError, match="no screen") as error:
        Window((80, 60), "test", fps=0)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)


def test_pygame_is_not_loaded_before_a_window_opens():
    script = "import sys, sim.window; print('pygame' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == "False\n"
