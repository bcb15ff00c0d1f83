"""Whatever fails around a driving car, the car is commanded to stop in time: real processes, real PyBullet.

What bounds the time is no machine's speed: a command to move expires `watchdog_s` after the action that it came from,
and the vehicle then brakes by itself.
"""

import pytest

from benchmarks.faults import FAULTS, Outcome, happen
from benchmarks.network import missing

BRAKING_MS = 1000  # from 1.4 m/s at 4 m/s² it takes 350
QUICK = ("loop SIGSTOP", "E-stop (space)")  # the others take a minute together


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAULTS]
)
def test_the_car_stops_in_time_and_drives_on_by_itself_only_where_that_is_safe(name):
    fault, outcome = FAULTS[name], Outcome()
    if fault.networked and (lacking := missing()):
        pytest.skip(f"a second machine needs {lacking}")
    happen(fault, outcome)
    if fault.harmless:
        assert outcome == Outcome()
        return
    (stop_ms,) = outcome.stop_ms
    assert stop_ms <= fault.rate.watchdog_s * 1e3 + 20  # for the way of the news from process to process
    (rest_ms,) = outcome.rest_ms
    assert rest_ms <= stop_ms + BRAKING_MS  # what the car did, not what the command said
    assert len(outcome.back_ms) == (fault.mend is not None)
    assert outcome.fault == fault.known_as
