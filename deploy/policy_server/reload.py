"""Hot reload: another policy takes the place of the one that serves, once it has proved fit, and no request waits."""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event, Thread
from typing import Self

from deploy.policy import OnnxPolicy
from deploy.policy_server.self_test import Sight, self_test, warm_up
from deploy.policy_spec import PolicyError

LOOK_S = 0.02  # between two looks at the file; loading and testing it take about twice as long


class Reloader:
    """Watches a policy file from a thread of its own, which also loads and tests what it finds there.

    `counts`: how many policies were "accepted" and "refused". onnxruntime lets go of Python's lock while it loads and
    runs a graph, so that the server goes on meanwhile.
    """

    def __init__(
        self, policy: OnnxPolicy, path: Path, seen: Callable[[], Iterable[Sight]], tell: Callable[[str], None]
    ) -> None:
        """policy: what was loaded from the file. seen: the newest frames. tell: is told of every change in one line."""
        self.counts: Counter[str] = Counter()
        self._newest, self._path, self._seen, self._tell = policy, path, seen, tell
        self._mark: tuple[int, ...] | None = None  # of the file that was looked at last
        self._ready: deque[OnnxPolicy] = deque(maxlen=1)
        self._end = Event()
        self._thread = Thread(target=self._watch, name="reload")

    def take(self) -> OnnxPolicy | None:
        """The policy that is to serve from now on, told once; None if that has not changed."""
        return self._ready.popleft() if self._ready else None

    def look(self) -> None:
        """Load and test the file if it is not the one that was looked at last."""
        mark = _mark(self._path)
        if mark in (None, self._mark):  # while there is no file the old policy serves on
            return
        self._mark = mark
        try:
            policy = OnnxPolicy.load(self._path)
            if policy.id == self._newest.id:
                return
            self._test(policy)
        except PolicyError as error:
            self.counts["refused"] += 1
            self._tell(f"not reloaded, policy {self._newest.id} serves on: {error}")
        else:
            self.counts["accepted"] += 1
            self._newest = policy
            self._ready.append(policy)
            self._tell(f"reloaded: policy {policy.id} of run {policy.spec.run} serves from now on")

    def close(self) -> None:
        """End the thread."""
        self._end.set()
        self._thread.join()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _watch(self) -> None:
        while not self._end.wait(LOOK_S):
            self.look()

    def _test(self, policy: OnnxPolicy) -> None:
        self._newest.spec.check_successor(policy.spec)
        self_test(policy, self._seen())
        warm_up(policy)


def _mark(path: Path) -> tuple[int, ...] | None:
    """What differs between a file and any that takes its place; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
