"""What can go wrong in a control cycle, each by one word, and after which of it a car may drive on by itself."""

from typing import Literal

from msgspec import Struct

Kind = Literal[
    "silent",  # no answer came in time: the policy's process is dead, frozen or slow, or the network is cut
    "stale",  # what came belongs to another frame or session, or the frame itself is too old
    "refused",  # the policy server says that it has no answer to this frame
    "malformed",  # what came cannot be read, or speaks another version of the protocol
    "foreign",  # another policy answered than the one that was agreed upon
    "invalid",  # the action is not finite or out of range
    "camera",  # the picture is old, frozen, black or of the wrong size
    "hands",  # the person who steers has gone silent
    "log",  # the drive cannot be recorded any more
]

# After these the car drives on by itself as soon as enough good actions have come in a row: the policy was away for a
# while, and what it says now is as good as before. After all others a person must look, and start it again.
PASSING: frozenset[Kind] = frozenset({"silent", "stale", "refused"})


class Fault(Struct, frozen=True):
    """Why there is no action to drive by in this cycle."""

    kind: Kind
    detail: str  # goes on "the policy server is …" or the like, for people

    @property
    def passing(self) -> bool:
        """Whether the car may drive on by itself once it is over."""
        return self.kind in PASSING
