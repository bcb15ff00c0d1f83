"""Who is listened to: what of all that pages say reaches the control loop.

Pure but for what it says: no clock, no socket. A page is whatever its caller tells it apart by.
"""

from collections.abc import Callable, Hashable
from hmac import compare_digest

from deploy.dashboard.messages import Asked, Choose, FromPage, Give, Held, Here, Hold, LetGo, Press, Token, Watched

# The command made of hands expires with them, so that a car whose driver's page freezes brakes by itself after this
# time, wherever in its control period the loop is: within 0.15 s, also if the last word was on its way for 10 ms.
HOLD_S = 0.14
WATCH_S = 0.5  # that somebody counts as watching; said five times as often
SEEN_S = 1.0  # older, and what the page shows is no picture to drive by
MOVING = ("start", "reset", "train", "test")  # what may make the car move; all else may come late


class Ear:
    """Passes on to `say` what pages ask for that know the token; one page at a time has the wheel."""

    def __init__(self, token: str, say: Callable[[Asked], object]) -> None:
        self._token, self._say = token, say
        self._known: set[Hashable] = set()
        self._driver: Hashable | None = None  # the page whose hands are on
        self._driver_until_s = 0.0
        self._watching: set[Hashable] = set()

    def hear(self, page: Hashable, message: FromPage, now_s: float) -> str | None:
        """Pass on what a page says; returns why not, in words for people."""
        if isinstance(message, Token):
            return self._recognise(page, message.token)
        if page not in self._known:
            return "this page may only watch: its address lacks the token"
        if objection := self._objection(page, message, now_s):
            return objection
        match message:
            case Hold(steering=steering, speed=speed):
                self._driver, self._driver_until_s = page, now_s + HOLD_S
                self._say(Held(steering=steering, speed=speed, until_s=self._driver_until_s))
            case Here():
                self._watching.add(page)
                self._say(Watched(until_s=now_s + WATCH_S))
            case LetGo():
                self._turn_away(page)
            case Choose() | Press() | Give():
                self._say(message)
        return None

    def leave(self, page: Hashable) -> None:
        """The page is closed, or lost."""
        self._turn_away(page)
        self._known.discard(page)

    def _recognise(self, page: Hashable, token: str) -> str | None:
        if not compare_digest(token.encode(), self._token.encode()):
            self.leave(page)
            return "this page may only watch: its token is wrong"
        self._known.add(page)
        return None

    def _objection(self, page: Hashable, message: FromPage, now_s: float) -> str | None:
        match message:
            case Hold() | Choose() if self._driver not in (None, page) and now_s < self._driver_until_s:
                return "another page has the wheel"
            case Press(ask=asked) | Give(order=asked) if asked not in MOVING:
                return None
            case (
                Hold(seen_s=seen_s)
                | Here(seen_s=seen_s)
                | Choose(seen_s=seen_s)
                | Press(seen_s=seen_s)
                | Give(seen_s=seen_s)
            ):
                fresh = 0 <= now_s - seen_s <= SEEN_S
                return None if fresh else "what this page shows is too old to drive by"
        return None

    def _turn_away(self, page: Hashable) -> None:
        """Nobody at this page drives or watches any more, which is said at once."""
        if self._driver == page:
            self._driver = None
            self._say(LetGo())
        if page in self._watching:
            self._watching.discard(page)
            if not self._watching:
                self._say(Watched(until_s=0.0))
