"""The safety machine between policy and motors: no fault moves the car, and every fault stops it.

                     start, and good cycles              no valid action
        standby ───────────────────────────▶ driving ──────────────────────▶ degraded
           ▲                                    ▲  │                            │  │
           │ at rest                            │  │ stop, lasting fault        │  │ none for `watchdog_s`,
           │                                    └──┼─────── good cycles ────────┘  │ stop, lasting fault
        safe_stop ◀────────────────────────────────┴──────────────────────────────┘
                     e_stop from anywhere; reset, at rest, leads back to standby

Pure: no clock, no input or output. `step` maps what is remembered and what has come in to what is remembered next, so
that a drive's log replays it exactly.
"""

from math import isfinite
from typing import Literal

import msgspec
from msgspec import Struct

from deploy.driving.faults import Fault

STANDSTILL = -1.0  # speed set-point

State = Literal["standby", "driving", "degraded", "safe_stop", "e_stop"]
Ask = Literal["start", "stop", "e_stop", "reset"]


class Limits(Struct, frozen=True):
    """What the car may be made to do."""

    max_steering_rad: float  # angle of the front wheels at steering ±1
    max_steering_rate_radps: float  # how fast the front wheels may turn
    watchdog_s: float = 0.15  # age of an action, and time without one; 1.5 periods at 10 Hz ride out one late action
    max_speed: float = 1.0  # speed set-point in [-1, 1]
    recovery_cycles: int = 3  # valid actions in a row until the car drives, or drives as fast as it is told, again
    rest_mps: float = 0.1  # slower counts as standing


class Command(Struct, frozen=True):
    """What the vehicle shall do until `expires_at_s` (monotonic), when it brakes to rest by itself."""

    steering: float  # [-1, 1], left positive
    speed: float  # [-1, 1], -1 = stand still, +1 = top speed
    expires_at_s: float


class Inputs(Struct, frozen=True):
    """What one control cycle has brought."""

    now_s: float  # monotonic, as all moments here
    captured_at_s: float  # when the frame was taken that the action is for
    speed_mps: float  # as measured
    action: tuple[float, ...] | None = None  # steering and speed set-point, of policy or person; None if there is none
    fault: Fault | None = None  # why there is none, or why it must not be used
    asks: tuple[Ask, ...] = ()  # what people have asked for since the last cycle
    hands_until_s: float | None = None  # then who drives by hand has gone silent; None if nobody does


class Memory(Struct, frozen=True):
    """What the machine is, and remembers, after a cycle."""

    state: State
    command: Command  # what it says to the vehicle
    at_s: float  # when it said so
    armed: bool = False  # a person wants the car to drive
    good: int = 0  # valid actions in a row
    fault: Fault | None = None  # of this cycle

    @classmethod
    def standing(cls, now_s: float, steering: float = 0.0, armed: bool = False) -> "Memory":
        """A car at rest whose wheels are turned by `steering`; armed: it need not be asked to start."""
        return cls("standby", Command(steering, STANDSTILL, expires_at_s=now_s), now_s, armed)


def step(memory: Memory, inputs: Inputs, limits: Limits) -> Memory:
    """One control cycle of the machine."""
    fault = inputs.fault or _fault_of(inputs, limits)
    good = 0 if fault else memory.good + 1
    armed = (memory.armed or "start" in inputs.asks) and not _disarmed(memory, inputs, fault)
    seen = msgspec.structs.replace(memory, armed=armed, good=good, fault=fault)
    state = _next_state(seen, inputs, limits)
    command = _command(seen, state, inputs, limits)
    return msgspec.structs.replace(seen, state=state, command=command, at_s=inputs.now_s)


def _fault_of(inputs: Inputs, limits: Limits) -> Fault | None:
    """What is wrong with the action of this cycle."""
    if inputs.action is None:
        return Fault("silent", "silent")
    if len(inputs.action) != 2 or not all(isfinite(a) and -1 <= a <= 1 for a in inputs.action):
        return Fault("invalid", f"answering {inputs.action}, outside [-1, 1]")
    age_s = inputs.now_s - inputs.captured_at_s
    if not 0 <= age_s <= limits.watchdog_s:
        return Fault("stale", f"answering to a frame {age_s * 1e3:.0f} ms old")
    return None


def _disarmed(memory: Memory, inputs: Inputs, fault: Fault | None) -> bool:
    """Whether it takes a person, from the next cycle on, to start the car."""
    halted = memory.state == "e_stop" or "e_stop" in inputs.asks or "stop" in inputs.asks
    return halted or (fault is not None and not fault.passing)


def _next_state(memory: Memory, inputs: Inputs, limits: Limits) -> State:
    """Where the arrows above lead; `memory` knows this cycle's fault already, its state is still the old one."""
    at_rest = abs(inputs.speed_mps) <= limits.rest_mps
    recovered = memory.good >= limits.recovery_cycles
    if "e_stop" in inputs.asks:
        return "e_stop"
    match memory.state:
        case "e_stop":
            return "standby" if "reset" in inputs.asks and at_rest else "e_stop"
        case "safe_stop":
            return "standby" if at_rest else "safe_stop"
        case "standby":
            return "driving" if memory.armed and recovered else "standby"
        case _:
            return _under_way(memory, inputs.now_s, recovered)


def _under_way(memory: Memory, now_s: float, recovered: bool) -> State:
    if not memory.armed:
        return "safe_stop"
    if memory.fault is None:
        return "driving" if memory.state == "driving" or recovered else "degraded"
    return "degraded" if now_s < memory.command.expires_at_s else "safe_stop"


def _command(memory: Memory, state: State, inputs: Inputs, limits: Limits) -> Command:
    held = memory.command
    if state not in ("driving", "degraded"):
        return Command(held.steering, STANDSTILL, expires_at_s=min(held.expires_at_s, inputs.now_s))
    if memory.fault or inputs.action is None:
        return Command(held.steering, _decayed(held, memory.at_s, inputs.now_s), held.expires_at_s)
    steering, speed = inputs.action
    fastest = limits.max_speed if state == "driving" else min(held.speed, limits.max_speed)
    expires_at_s = inputs.now_s + limits.watchdog_s
    if inputs.hands_until_s is not None:
        expires_at_s = min(expires_at_s, inputs.hands_until_s)
    return Command(
        _slewed(held.steering, steering, inputs.now_s - memory.at_s, limits), min(speed, fastest), expires_at_s
    )


def _decayed(held: Command, at_s: float, now_s: float) -> float:
    """The speed set-point on its straight way from what it was at `at_s` to standing when the command expires."""
    whole_s = held.expires_at_s - at_s
    left = (held.expires_at_s - now_s) / whole_s if whole_s > 0 else 0.0
    return STANDSTILL + (held.speed - STANDSTILL) * min(max(left, 0.0), 1.0)


def _slewed(held: float, steering: float, elapsed_s: float, limits: Limits) -> float:
    """As near to `steering` as the wheels can turn in the time since the last command."""
    turning_s = min(max(elapsed_s, 0.0), limits.watchdog_s)  # then it was let go
    reach = limits.max_steering_rate_radps * turning_s / limits.max_steering_rad
    return min(max(steering, held - reach), held + reach)
