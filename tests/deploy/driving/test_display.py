"""What the driver's seat is told of frames that nobody has seen."""

import pytest

from deploy.driving.display import Display
from tests.deploy.entries import entry


def told(novelties: list[float | None], capsys: pytest.CaptureFixture) -> list[str]:
    """The sentences that a drive with these novelties is accompanied by."""
    display = Display("policy server at ipc://nowhere", 0.15)
    for tick, novelty in enumerate(novelties):
        display.show(entry(tick, novelty=novelty))
    return [line for line in capsys.readouterr().out.splitlines() if "seen" in line or "familiar" in line]


def test_half_a_second_of_unseen_frames_is_said_once_and_taken_back(capsys):
    said = told([0.5] * 5 + [2.5] * 9 + [0.5] * 9, capsys)
    assert said == [
        "warning: I have not seen this: novelty 2.5 after 0.9 s; mind the car",
        "familiar again after 1.8 s",
    ]


@pytest.mark.parametrize("novelties", [[2.0, 2.0, 2.0, 2.0, 0.5] * 4, [None] * 20, [1.4] * 20])
def test_single_frames_and_policies_that_cannot_tell_are_passed_over(novelties, capsys):
    assert told(novelties, capsys) == []


def test_another_policy_under_way_is_said(capsys):
    display = Display("policy server at ipc://nowhere", 0.15)
    for tick, policy_id in enumerate(["one", "one", None, "two", "two"]):
        display.show(entry(tick, policy_id=policy_id))
    assert capsys.readouterr().out.splitlines()[-1] == "policy two drives from here on: the server went over to it"
    assert not capsys.readouterr().out
