"""What happens when a car is taught, as a pure state machine: events in, the next state and what is to be done out.

    standing ──train, test──▶ placing ──in place──▶ waiting ──caught up──▶ driving ──takeover, finished, any order──▶ …
       ▲                         (the car is put back, the learner learns)                                          │
       └────────────────────────────────────────────────────────────────────────────────────────────────────────────┘

The car is driven by its policy in "driving" alone; in every other phase it is told to stand. Kendall 2018, figure 3.
"""

from dataclasses import dataclass, replace
from typing import Literal

from deploy.safety_drivers import Phase, Request, Task

Event = Request | Literal["caught up", "stalled"]
Effect = Literal["begin", "disengaged", "finished", "broken off", "cut off", "undo"]
ENDINGS: dict[Event, Effect] = {
    "takeover": "disengaged",
    "finished": "finished",
    "pause": "broken off",
    "undo": "broken off",
    "done": "broken off",
    "stalled": "cut off",
}


@dataclass(frozen=True)
class Teaching:
    """Where a session stands."""

    phase: Phase = "standing"
    task: Task = "train"  # under way, asked for, or the last
    undoable: bool = False  # an episode that was learned from, not yet undone


def after(now: Teaching, event: Event) -> tuple[Teaching, tuple[Effect, ...]]:
    """What becomes of a session by an event, and what is to be done, in that order.

    An event that means nothing in this phase changes nothing. Whatever a person says ends an episode: pause, undo and
    done break it off, which is no disengagement; train and test take over, and the car waits to be asked again. So it
    does after a stall, in which nobody saw the road: that cuts an episode off, and calls off one that was asked for.
    """
    if now.phase == "done":
        return now, ()
    if now.phase != "driving":
        return _obeyed(now, event)
    event = "takeover" if event in ("train", "test") else event
    if event not in ENDINGS:
        return now, ()
    stopped, effects = _obeyed(replace(now, phase="standing"), event)
    return stopped, (ENDINGS[event], *effects)


def _obeyed(now: Teaching, event: Event) -> tuple[Teaching, tuple[Effect, ...]]:
    """The same for a car that stands."""
    match event:
        case "train" | "test":
            return replace(now, phase="placing", task=event), ()
        case "in place" if now.phase == "placing":
            return replace(now, phase="waiting"), ()
        case "caught up" if now.phase == "waiting":
            return replace(now, phase="driving", undoable=now.undoable or now.task == "train"), ("begin",)
        case "undo" if now.undoable:
            return replace(now, undoable=False), ("undo",)
        case "done":
            return replace(now, phase="done"), ()
        case "pause" | "takeover" | "stalled":
            return replace(now, phase="standing"), ()
    return now, ()
