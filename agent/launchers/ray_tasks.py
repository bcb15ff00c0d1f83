"""Trials as tasks of a Ray cluster, or of one that is started on this machine for them alone.

Every node needs Lapwing and the sweep's folder under the same path. A trial whose node dies is tried again on another,
from its newest checkpoint.
"""

import time
from typing import Self

from agent.cluster import join, ray, ray_errors
from agent.launchers.attempt import LOG, Attempt, Order

RETRIES = 3  # when a node dies
POLL_S = 0.1


class RayTasks:
    """As many trials at a time as Ray has CPUs: `jobs` of them where it is started here."""

    def __init__(self, jobs: int, address: str | None = None) -> None:
        join(jobs, address)
        self._task = ray.remote(num_cpus=1, max_retries=RETRIES)(attempt)
        self.at_once = int(ray.cluster_resources().get("CPU", 0))
        self._running: dict[ray.ObjectRef, Order] = {}

    def start(self, order: Order) -> None:
        """Submit the trial."""
        self._running[self._task.remote(order)] = order

    def ended(self) -> list[str]:
        """Names of the trials whose task has ended since the last call, in whatever way."""
        done, _ = (
            ray.wait(list(self._running), num_returns=len(self._running), timeout=0) if self._running else ([], [])
        )
        return [self._note(ref) for ref in done]

    def interrupt(self) -> None:
        """Let every trial save what it has and end; those that wait never start."""
        for ref in self._running:
            ray.cancel(ref)

    def kill(self) -> None:
        """End every trial now, and forget it."""
        for ref in self._running:
            ray.cancel(ref, force=True)
        self._running.clear()

    def _note(self, ref: ray.ObjectRef) -> str:
        """Forget a task; what went wrong beside the trial itself goes to its log."""
        order = self._running.pop(ref)
        try:
            ray.get(ref)
        except ray_errors.TaskCancelledError:
            pass
        except ray_errors.RayError as error:
            order.folder.mkdir(parents=True, exist_ok=True)
            with (order.folder / LOG).open("a") as log:
                log.write(f"{error}\n")
        return order.name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        ray.shutdown()


def attempt(order: Order) -> None:
    """Be a task: make an attempt at the trial; cancelled, let it save what it has."""
    attempt = Attempt(order)
    try:
        _wait(attempt)
    except KeyboardInterrupt:  # which is how Ray cancels
        attempt.interrupt()
        _wait(attempt)
        raise


def _wait(attempt: Attempt) -> None:
    while not attempt.over():
        time.sleep(POLL_S)
