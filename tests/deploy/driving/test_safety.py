"""No fault moves the car, every fault stops it, and every arrow of the safety machine is where its picture says."""

from itertools import pairwise
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from deploy.driving.faults import Fault
from deploy.driving.safety import STANDSTILL, Command, Inputs, Limits, Memory, State, step

LIMITS = Limits(max_steering_rad=0.5, max_steering_rate_radps=1.0, watchdog_s=0.15)  # ±1 takes 0.5 s
LASTING = Fault("camera", "black")
PASSING = Fault("silent", "silent")
NEITHER = Fault("hands", "nobody steers any more")


def cycle(now_s: float, action: tuple[float, ...] | None = (0.0, 0.5), **changes: object) -> Inputs:
    """What comes in at that moment: an action for a frame 20 ms old, of a car that moves."""
    return replace(Inputs(now_s, now_s - 0.02, 1.0, action), **changes)


def after(memory: Memory, *cycles: Inputs, limits: Limits = LIMITS) -> Memory:
    for inputs in cycles:
        memory = step(memory, inputs, limits)
    return memory


def driving(at_s: float = 0.0, action: tuple[float, ...] = (0.0, 0.5)) -> Memory:
    """A car that has just been given `action` and drives by it."""
    return Memory("driving", Command(action[0], action[1], at_s + 0.15), at_s, armed=True, good=9)


def stopped(state: State, armed: bool = True, good: int = 0) -> Memory:
    return Memory(state, Command(0.1, STANDSTILL, 0.0), 0.0, armed, good)


def test_a_car_stands_until_it_is_asked_to_start_however_good_the_actions_are():
    memory = after(Memory.standing(0.0), *[cycle(0.1 * i) for i in range(1, 9)])
    assert (memory.state, memory.command) == ("standby", Command(0.0, STANDSTILL, 0.0))
    memory = after(memory, cycle(0.9, asks=("start",)))
    assert (memory.state, memory.command) == ("driving", Command(0.0, 0.5, pytest.approx(1.05)))


def test_who_is_asked_to_start_waits_for_three_good_actions_in_a_row():
    good, bad = cycle(0.1), cycle(0.1, None)
    armed = Memory.standing(0.0, armed=True)
    states = [after(armed, *cycles).state for cycles in ([good] * 2, [good, good, bad, good, good], [good] * 3)]
    assert states == ["standby", "standby", "driving"]


def test_a_missed_deadline_degrades_the_steering_is_held_and_the_speed_decays_in_a_straight_line():
    memory = after(driving(action=(0.2, 0.5)), cycle(0.05, None))
    # Two thirds of the watchdog time are left, and so of the speed: set-point 0.5 is 1.5 above standing.
    assert memory.state == "degraded"
    assert memory.command == Command(0.2, pytest.approx(-1 + 1.5 * 2 / 3), 0.15)
    memory = after(memory, cycle(0.1, None))
    assert memory.command == Command(0.2, pytest.approx(-1 + 1.5 * 1 / 3), 0.15)


def test_silence_for_the_watchdog_time_stops_the_car_with_its_wheels_as_they_are():
    memory = after(driving(action=(0.2, 0.5)), cycle(0.1, None), cycle(0.15, None))
    assert (memory.state, memory.command) == ("safe_stop", Command(0.2, STANDSTILL, 0.15))


def test_a_degraded_car_follows_good_actions_but_gets_faster_only_after_three_of_them():
    slow = after(driving(), cycle(0.05, None))
    speed = slow.command.speed
    states = [slow := after(slow, cycle(0.05 + 0.05 * i, (0.01, 0.9))) for i in (1, 2, 3)]
    assert [m.state for m in states] == ["degraded", "degraded", "driving"]
    assert [m.command.speed for m in states] == [speed, speed, 0.9]
    assert states[0].command == Command(0.01, speed, pytest.approx(0.25))  # which prolongs what it may


def test_a_command_by_hand_expires_with_the_hands_if_they_go_silent_first():
    for until_s, expires_s in ((0.12, 0.12), (0.9, 0.25)):  # 0.1 s and the watchdog's 0.15
        by_hand = replace(cycle(0.1, (0.0, 0.5)), hands_until_s=until_s)
        assert after(driving(), by_hand).command.expires_at_s == pytest.approx(expires_s)


def test_a_controlled_stop_ends_in_standby_at_rest_and_not_before():
    memory = after(stopped("safe_stop"), cycle(0.1, speed_mps=0.5), cycle(0.2, speed_mps=0.11))
    assert memory.state == "safe_stop"
    assert after(memory, cycle(0.3, speed_mps=-0.1)).state == "standby"


def test_after_silence_the_car_drives_on_by_itself():
    stop = after(driving(), cycle(0.15, None))
    rest = after(stop, cycle(0.2, None, speed_mps=0.0))
    memory = after(rest, *[cycle(0.3 + 0.1 * i) for i in range(3)])
    assert (stop.state, rest.state, memory.state) == ("safe_stop", "standby", "driving")


@pytest.mark.parametrize("kind", ["malformed", "foreign", "invalid", "camera", "hands", "log"])
def test_after_a_lasting_fault_the_car_stops_at_once_and_only_a_person_can_start_it(kind):
    memory = after(driving(), cycle(0.02, None, fault=Fault(kind, "")))
    assert (memory.state, memory.command.speed) == ("safe_stop", STANDSTILL)
    memory = after(memory, *[cycle(0.1 + 0.1 * i, speed_mps=0.0) for i in range(9)])
    assert (memory.state, memory.armed) == ("standby", False)
    assert after(memory, cycle(1.1, asks=("start",))).state == "driving"


@pytest.mark.parametrize("kind", ["silent", "stale", "refused"])
def test_a_passing_fault_alone_only_degrades(kind):
    memory = after(driving(), cycle(0.02, None, fault=Fault(kind, "")))
    assert (memory.state, memory.armed) == ("degraded", True)


def test_a_fault_that_is_known_outweighs_an_action_that_looks_good():
    assert after(driving(), cycle(0.02, (0.0, 1.0), fault=LASTING)).state == "safe_stop"


def test_asking_to_stop_stops_and_asking_to_start_drives_on():
    memory = after(driving(), cycle(0.1, asks=("stop",)))
    assert (memory.state, memory.command.speed, memory.fault) == ("safe_stop", STANDSTILL, None)
    memory = after(memory, cycle(0.2, speed_mps=0.0), cycle(0.3), cycle(0.4))
    assert memory.state == "standby"
    assert after(memory, cycle(0.5, asks=("start",))).state == "driving"


def test_asking_to_start_and_to_stop_at_once_stops():
    assert after(driving(), cycle(0.1, asks=("stop", "start"))).state == "safe_stop"
    assert after(stopped("standby", good=9), cycle(0.1, asks=("start", "e_stop"))).state == "e_stop"


@pytest.mark.parametrize("state", ["standby", "driving", "degraded", "safe_stop", "e_stop"])
def test_an_emergency_stop_comes_from_everywhere_and_cuts_the_command_short(state):
    memory = after(replace(driving(), state=state), cycle(0.1, asks=("e_stop",)))
    assert (memory.state, memory.command, memory.armed) == ("e_stop", Command(0.0, STANDSTILL, 0.1), False)


def test_an_emergency_stop_is_latched_until_a_person_resets_it_at_rest_and_starts_anew():
    asked = [cycle(0.1, asks=("start",)), cycle(0.2, asks=("stop",)), cycle(0.3, speed_mps=0.0)]
    moving = after(stopped("e_stop", armed=False), *asked, cycle(0.4, asks=("reset",), speed_mps=0.2))
    assert moving.state == "e_stop"
    memory = after(replace(moving, armed=False), cycle(0.5, asks=("reset",), speed_mps=0.0))
    assert memory.state == "standby"
    memory = after(memory, *[cycle(0.6 + 0.1 * i) for i in range(5)])
    assert memory.state == "standby"
    assert after(memory, cycle(1.2, asks=("start",))).state == "driving"


def test_what_was_asked_for_during_an_emergency_stop_does_not_start_the_car_after_it():
    memory = after(stopped("e_stop", armed=False), cycle(0.1, asks=("start",)))
    memory = after(memory, cycle(0.2, asks=("reset",), speed_mps=0.0), *[cycle(0.3 + 0.1 * i) for i in range(5)])
    assert memory.state == "standby"


def test_steering_follows_only_as_fast_as_the_wheels_turn():
    memory = after(driving(), cycle(0.1, (1.0, 0.5)))
    assert memory.command.steering == pytest.approx(0.2)  # 1 rad/s · 0.1 s / 0.5 rad
    memory = after(memory, cycle(0.2, (1.0, 0.5)))
    assert memory.command.steering == pytest.approx(0.4)
    assert after(memory, cycle(0.3, (-1.0, 0.5))).command.steering == pytest.approx(0.2)


def test_no_command_is_faster_than_allowed():
    limits = replace(LIMITS, max_speed=-0.2)
    assert after(driving(), cycle(0.1, (0.0, 1.0)), limits=limits).command.speed == -0.2
    assert after(driving(), cycle(0.1, (0.0, -0.7)), limits=limits).command.speed == -0.7


@pytest.mark.parametrize("action", [(nan, 0.0), (0.0, inf), (1.01, 0.0), (0.0, -1.01), (0.0,), (0.0, 0.0, 0.0), ()])
def test_an_action_that_is_not_finite_and_in_range_is_a_lasting_fault(action):
    memory = after(driving(), cycle(0.1, action))
    assert (memory.state, memory.fault.kind) == ("safe_stop", "invalid")


@pytest.mark.parametrize("captured_at_s", [-0.051, 0.101, nan, -inf])
def test_an_action_for_a_frame_too_old_or_of_the_future_is_not_driven_by(captured_at_s):
    memory = after(driving(), cycle(0.1, (0.5, 1.0), captured_at_s=captured_at_s))
    assert (memory.state, memory.fault.kind, memory.command.steering) == ("degraded", "stale", 0.0)


# -- whatever happens

ACTIONS = st.none() | st.tuples(*[st.sampled_from([-1.0, -0.3, 0.0, 0.8, 1.0, 1.5, nan, inf])] * 2) | st.just(())
CYCLES = st.builds(
    lambda gap_s, age_s, **rest: (gap_s, age_s, rest),
    st.floats(0.001, 0.4),
    st.sampled_from([0.0, 0.02, 0.149, 0.151, 5.0, -0.01, nan]),
    action=ACTIONS,
    fault=st.sampled_from([None, None, None, LASTING, PASSING, NEITHER]),
    asks=st.lists(st.sampled_from(["start", "stop", "e_stop", "reset"]), max_size=2).map(tuple),
    speed_mps=st.sampled_from([0.0, 0.05, 1.0, nan]),
)


def lived(cycles: list) -> list[tuple[Inputs, Memory]]:
    now_s, memory, told = 100.0, Memory.standing(100.0), []
    for gap_s, age_s, rest in cycles:
        now_s += gap_s
        inputs = Inputs(now_s, now_s - age_s, **rest)
        memory = step(memory, inputs, LIMITS)
        told.append((inputs, memory))
    return told


def is_good(inputs: Inputs) -> bool:
    """An action that may be driven by, said independently of the machine."""
    action = inputs.action
    fresh = 0 <= inputs.now_s - inputs.captured_at_s <= 0.15
    return bool(inputs.fault is None and action and all(-1 <= a <= 1 for a in action) and fresh)


@given(st.lists(CYCLES, max_size=60))
def test_no_fault_leads_to_motion_without_fresh_valid_actions_and_somebody_who_started_it(cycles):
    wanted, last_good_s = False, -inf
    for inputs, memory in lived(cycles):
        lasting = inputs.fault in (LASTING, NEITHER) or (memory.fault is not None and memory.fault.kind == "invalid")
        wanted = (wanted or "start" in inputs.asks) and not lasting and not {"stop", "e_stop"} & set(inputs.asks)
        last_good_s = inputs.now_s if is_good(inputs) else last_good_s
        if memory.command.speed > STANDSTILL:
            assert wanted
            assert inputs.now_s - last_good_s < 0.15
            assert memory.command.expires_at_s <= last_good_s + 0.15
        assert memory.command.expires_at_s <= max(last_good_s + 0.15, 100.0)


@given(st.lists(CYCLES, max_size=60))
def test_states_change_only_along_the_arrows(cycles):
    arrows = {
        *[(state, "e_stop") for state in ("standby", "driving", "degraded", "safe_stop", "e_stop")],
        *[("standby", "driving"), ("driving", "degraded"), ("degraded", "driving")],
        *[("driving", "safe_stop"), ("degraded", "safe_stop"), ("safe_stop", "standby"), ("e_stop", "standby")],
    }
    memories = [Memory.standing(100.0), *(memory for _, memory in lived(cycles))]
    for before, now in pairwise(memories):
        assert before.state == now.state or (before.state, now.state) in arrows
        assert now.state == "driving" or before.state not in ("standby",) or now.command.speed == STANDSTILL


@given(st.lists(CYCLES, max_size=60))
def test_every_command_is_finite_in_range_and_turns_the_wheels_no_faster_than_they_can(cycles):
    told = lived(cycles)
    for (_, before), (inputs, now) in pairwise(told):
        assert -1 <= now.command.steering <= 1
        assert STANDSTILL <= now.command.speed <= 1
        turned_rad = abs(now.command.steering - before.command.steering) * LIMITS.max_steering_rad
        assert turned_rad <= (inputs.now_s - before.at_s) * LIMITS.max_steering_rate_radps + 1e-9
        if now.state == "degraded":
            assert now.command.speed <= before.command.speed
