"""What the pace benchmark counts as unsafe is counted where it happens, and only there."""

from benchmarks.pace import unsafe
from deploy.driving.faults import Fault
from deploy.driving.safety import Inputs
from tests.deploy.entries import entry

SILENT = Fault("silent", "silent")


def silent(tick: int, sent_speed: float):
    """A tick at 10 Hz without an answer, in which the motors got this."""
    now_s = tick * 0.1
    return entry(tick, action=None, sent=(0.0, sent_speed), inputs=Inputs(now_s, now_s, 2.0, None, SILENT))


def test_motors_that_move_without_a_good_action_in_the_last_30_ms_are_unsafe():
    assert unsafe([entry(1), entry(2), silent(3, -1.0)]) == 0  # good, good, told to stand
    assert unsafe([entry(1), silent(2, 0.5), silent(3, -0.99)]) == 2  # 90 ms and 190 ms after the last good one
