"""A window in real time: pictures go out, keys come in. Needs pygame, which is loaded when the first window opens."""

import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

BAR = 0.15  # height of the bar of readings, in heights of the picture
DARK, BRIGHT, DIM = (22, 24, 29), (238, 240, 242), (150, 156, 166)
UNSEEN = ("dummy", "offscreen")  # where SDL draws when it finds no screen


class WindowError(RuntimeError):
    """No window can be opened here; the message says what to do."""

    exit_code = 2


class Keys(NamedTuple):
    """Keys by the names that pygame has for them: "left", "a", "space", "escape"."""

    held: frozenset[str] = frozenset()  # at some moment since the last picture
    pressed: frozenset[str] = frozenset()  # gone down since the last picture


class Window:
    """Shows one picture after another; whoever opened it closes it, or a person does, which ends `open`.

    size: (width, height) in pixels to begin with; people may resize it, the picture keeps its form.
    fps: pictures per second of real time; 0 waits for nothing.
    Raises WindowError without pygame or without a screen. pygame has one window per process.
    """

    def __init__(self, size: tuple[int, int], title: str, fps: float) -> None:
        self._pygame = pygame = _start_pygame()
        pygame.display.set_caption(title)
        pygame.display.set_mode(size, pygame.RESIZABLE)
        self.open, self.keys = True, Keys()
        self._fps, self._clock = fps, pygame.time.Clock()
        self._held: set[str] = set()
        self._fonts: dict[int, Any] = {}

    def show(self, picture: np.ndarray, readings: Sequence[tuple[str, str]] = (), banner: str = "") -> None:
        """Show a picture until the next is due, then read the keys; does nothing once the window is closed.

        picture: (h, w, 3) uint8 RGB; readings: (value, label) pairs for a bar below it; banner: a line across it.
        """
        screen = self._pygame.display.get_surface()
        if screen is None:  # closed by a person, or with all of pygame by another of its users
            self.open, self.keys = False, Keys()
            return
        self._draw(screen, picture, readings, banner)
        self._pygame.display.flip()
        self._clock.tick(self._fps)
        self._read_keys()

    def _draw(self, screen: Any, picture: np.ndarray, readings: Sequence[tuple[str, str]], banner: str) -> None:
        """Lay out picture, bar and banner as large as the window allows."""
        (wide, high), (height, width) = screen.get_size(), picture.shape[:2]
        total = height * (1 + BAR) if readings else height
        scale = min(wide / width, high / total)
        place = self._pygame.Rect((wide - scale * width) / 2, (high - scale * total) / 2, scale * width, scale * height)
        frame = self._pygame.image.frombuffer(np.ascontiguousarray(picture), (width, height), "RGB")
        screen.fill(DARK)
        screen.blit(self._pygame.transform.smoothscale(frame, place.size), place)
        bar = BAR * place.height
        for i, (value, label) in enumerate(readings):
            left = place.left + (i + 0.1) * place.width / len(readings)
            self._write(screen, value, 0.42 * bar, BRIGHT, midleft=(left, place.bottom + 0.36 * bar))
            self._write(screen, label, 0.30 * bar, DIM, midleft=(left, place.bottom + 0.70 * bar))
        if banner:
            above = (place.centerx, place.top + 0.5 * bar)
            self._write(screen, banner, 0.36 * bar, BRIGHT, margin=0.12 * bar, center=above)

    def _write(
        self, screen: Any, text: str, height: float, colour: tuple[int, int, int], margin: float = 0.0, **place: Any
    ) -> None:
        """Write a line of that height on a dark plate, in pixels; place: in the terms of pygame's rectangles."""
        size = max(round(height), 1)
        if size not in self._fonts:
            self._fonts[size] = self._pygame.font.Font(None, size)
        ink = self._fonts[size].render(text, True, colour)
        where = ink.get_rect(**place)
        self._pygame.draw.rect(screen, DARK, where.inflate(4 * margin, 2 * margin), border_radius=round(margin))
        screen.blit(ink, where)

    def _read_keys(self) -> None:
        """A key that goes down and up between two pictures is held for one of them."""
        pygame, pressed = self._pygame, set()
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self.close()
                return
            if event.type == pygame.KEYDOWN:
                pressed.add(pygame.key.name(event.key))
                self._held.add(pygame.key.name(event.key))
            elif event.type == pygame.KEYUP:
                self._held.discard(pygame.key.name(event.key))
        self.keys = Keys(frozenset(self._held | pressed), frozenset(pressed))

    def close(self) -> None:
        """Take the window from the screen; closing twice is harmless."""
        self.open, self.keys = False, Keys()
        self._pygame.display.quit()


def _start_pygame() -> ModuleType:
    """Load pygame and find a screen; the dummy one counts if someone has asked for it by SDL_VIDEODRIVER."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ImportError:
        raise WindowError("a window needs pygame; install it with: pip install pygame-ce") from None
    try:
        pygame.display.init()
    except pygame.error as error:
        raise _no_screen(error) from None
    driver = pygame.display.get_driver()
    if driver in UNSEEN and driver != os.environ.get("SDL_VIDEODRIVER"):
        pygame.display.quit()
        raise _no_screen(f"only {driver}")
    pygame.font.init()
    return pygame


def _no_screen(found: object) -> WindowError:
    return WindowError(f"no screen to open a window on ({found}); without one there is render_mode='rgb_array'")
