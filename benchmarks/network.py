"""A second machine, as far as TCP can tell: a network namespace with a cable to this one, which can be cut.

Needs Linux, root and `ip` (Debian's iproute2).
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

NUMBERS = count()
HERE, THERE = "10.213.7.1", "10.213.7.2"


def missing() -> str | None:
    """What this machine lacks for it; None if nothing."""
    if shutil.which("ip") is None:
        return "`ip`, Debian's iproute2"
    return None if os.geteuid() == 0 else "root"


class Cable:
    """Between this machine and the other one."""

    def __init__(self, name: str) -> None:
        self.there = ["ip", "netns", "exec", name]  # in front of a command that is to run on the other machine
        self._inner = ["ip", "-n", name, "link", "set", "there"]

    def cut(self) -> None:
        subprocess.run([*self._inner, "down"], check=True)

    def mend(self) -> None:
        subprocess.run([*self._inner, "up"], check=True)


@contextmanager
def other_machine() -> Iterator[Cable]:
    """The other machine at THERE, this one at HERE; nothing is left of it afterwards."""
    number = f"{os.getpid()}-{next(NUMBERS)}"  # the kernel may still be busy with the last one
    name, here = f"lapwing-{number}", f"lw{number}"  # an interface's name has at most 15 characters
    _ip("netns add", name)
    try:
        _ip("link add", here, "type veth peer name there netns", name)
        _ip("addr add", f"{HERE}/30 dev", here)
        _ip("link set", here, "up")
        _ip("-n", name, f"addr add {THERE}/30 dev there")
        _ip("-n", name, "link set there up")
        yield Cable(name)
    finally:
        _ip("netns del", name)  # and the cable with it


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *" ".join(arguments).split()], check=True)
