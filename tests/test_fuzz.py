"""Thousands of damaged, random and oversized messages harm neither the server nor a car that drives by it.

The million is `make fuzz`. How much slower the car may be is asserted there alone: it takes a quiet machine.
"""

from tests.fuzz import FuzzConfig, fuzz


def test_whatever_is_thrown_at_a_server_each_is_answered_and_the_car_drives_on():
    found = fuzz(FuzzConfig(messages=4_000, car_frames=5))
    assert sum(found.answers.values()) == 4_000
    assert {"malformed", "version", "mismatch", "replayed", "action", "policyinfo"} <= set(found.answers)
    assert found.all_right
    assert sum(figures.right for figures in found.beside) > 0
    assert found.grown < 0.2  # so soon after the start some of it is only warming up
    assert "served" in found.last_line
