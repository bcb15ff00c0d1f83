"""Who is listened to: a page with the token, one pair of hands at a time, and nobody who drives by an old picture."""

import pytest

from deploy.dashboard.ear import HOLD_S, WATCH_S, Ear
from deploy.dashboard.messages import Choose, Give, Held, Here, Hold, LetGo, Press, Token, Watched

NOW_S = 100.0
HOLD = Hold(steering=0.5, speed=-0.2, seen_s=NOW_S - 0.1)
CHOOSE = Choose(mode="local", seen_s=NOW_S - 0.1)
REQUESTS = [HOLD, Here(seen_s=NOW_S), CHOOSE, Press(ask="e_stop"), Press(ask="start", seen_s=NOW_S)]


class Heard(Ear):
    """An ear that keeps what it says."""

    def __init__(self, *known: str) -> None:
        self.said: list = []
        super().__init__("secret", self.said.append)
        for page in known:
            assert self.hear(page, Token(token="secret"), NOW_S) is None


@pytest.mark.parametrize("tokens", [(), ("wrong",), ("",), ("secre",), ("secret", "wrong")])
@pytest.mark.parametrize("request_", REQUESTS)
def test_nothing_is_heard_of_a_page_without_the_token(tokens, request_):
    ear = Heard()
    for token in tokens:
        ear.hear("page", Token(token=token), NOW_S)
    assert "may only watch" in (ear.hear("page", request_, NOW_S) or "")
    assert ear.said == []


def test_the_token_of_one_page_is_not_another_pages():
    ear = Heard("a")
    assert ear.hear("b", Press(ask="e_stop"), NOW_S)
    assert ear.said == []


def test_hands_hold_for_less_than_the_time_in_which_a_car_must_stop_that_loses_them():
    ear = Heard("a")
    assert ear.hear("a", HOLD, NOW_S) is None
    assert ear.said == [Held(steering=0.5, speed=-0.2, until_s=100.14)]
    assert HOLD_S == 0.14


@pytest.mark.parametrize("seen_s", [NOW_S - 1.01, NOW_S + 0.01, 0.0])  # a moment that is yet to come is no moment
def test_who_sees_no_fresh_picture_cannot_make_the_car_move(seen_s):
    ear = Heard("a")
    for message in (
        Hold(steering=0.0, speed=1.0, seen_s=seen_s),
        Choose(mode="local", seen_s=seen_s),
        Press(ask="start", seen_s=seen_s),
        Press(ask="reset", seen_s=seen_s),
        Give(order="train", seen_s=seen_s),
        Give(order="test", seen_s=seen_s),
        Here(seen_s=seen_s),
    ):
        assert "too old" in (ear.hear("a", message, NOW_S) or "")
    assert ear.said == []


def test_whatever_stops_the_car_is_heard_however_old_the_picture_is():
    ear = Heard("a")
    stops = [Press(ask="e_stop"), Press(ask="stop"), Give(order="takeover"), Give(order="pause"), Give(order="undo")]
    for message in stops:
        assert ear.hear("a", message, NOW_S) is None
    assert ear.said == stops


def test_one_page_at_a_time_has_the_wheel():
    ear = Heard("a", "b")
    ear.hear("a", HOLD, NOW_S)
    assert ear.hear("b", HOLD, NOW_S + 0.13) == "another page has the wheel"
    assert ear.hear("b", CHOOSE, NOW_S + 0.13) == "another page has the wheel"
    assert ear.hear("b", Press(ask="e_stop"), NOW_S + 0.13) is None  # which any of them may
    assert ear.hear("b", HOLD, NOW_S + 0.14) is None  # the first has let go by saying nothing
    assert ear.hear("b", CHOOSE, NOW_S + 0.14) is None
    assert [type(said) for said in ear.said] == [Held, Press, Held, Choose]


@pytest.mark.parametrize("loses", ["leave", "LetGo"])
def test_a_page_that_drives_and_is_lost_lets_go_at_once_and_any_other_does_not(loses):
    ear = Heard("a", "b")
    ear.hear("a", HOLD, NOW_S)
    for page in ("b", "a", "a"):
        if loses == "leave":
            ear.leave(page)
        else:
            ear.hear(page, LetGo(), NOW_S)
    assert ear.said[1:] == [LetGo()]


def test_somebody_watches_until_the_last_page_has_turned_away():
    ear = Heard("a", "b")
    for page in ("a", "b"):
        ear.hear(page, Here(seen_s=NOW_S), NOW_S)
    ear.leave("a")
    ear.hear("b", LetGo(), NOW_S)
    assert ear.said == [Watched(until_s=NOW_S + WATCH_S), Watched(until_s=NOW_S + WATCH_S), Watched(until_s=0.0)]
