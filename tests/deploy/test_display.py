"""What the driver's seat is told of frames that nobody has seen."""

import pytest

from deploy.display import Display
from tests.deploy.entries import entry


def told(novelties: list[float | None], capsys: pytest.CaptureFixture) -> list[str]:
    """The sentences that a drive with these novelties is accompanied by."""
    display = Display("ipc://nowhere", 0.15)
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
