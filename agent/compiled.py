"""Several updates of any algorithm as one compiled graph: losses, gradients, Adam and target networks in a single call.

It is the algorithm's own `learn` that is compiled, so there is no second set of equations. That takes a minute or
so, once for a batch size, and needs a C++ compiler; so it happens only for runs that are long enough or ask for it, and
says so. The graph changes the algorithm's very tensors: its `policy`, `state_dict` and plain `update` stay valid.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch._dynamo.config
from torch import Tensor

from agent.replay.uniform import Batch, Sample
from agent.update import Precision, products_in, weighted

Scalars = dict[str, Tensor]

AT_ONCE = 8  # updates in a call, or one period if that is longer: what a call itself costs is shared among them
LONG = 100_000  # updates that make a minute of compiling worth while


def worthwhile(updates: int) -> bool:
    """True for a run of so many updates where there is a C++ compiler."""
    return updates >= LONG and has_compiler()


def has_compiler() -> bool:
    """True where there is a C++ compiler that torch knows."""
    return any(map(shutil.which, ("g++", "clang++")))


class Compiled:
    """Makes `at_once` updates of an algorithm in one call, with the plain path's numbers within float tolerance.

    tell: is given a line before a compilation and one after it.
    """

    def __init__(self, algorithm: Any, precision: Precision, tell: Callable[[str], None]) -> None:
        self.algorithm, self.tell = algorithm, tell
        self.precision: Precision = precision
        self.at_once = algorithm.period * max(1, AT_ONCE // algorithm.period)
        self._graph = torch.compile(self._updates, dynamic=False, fullgraph=True, options={"cpp_wrapper": True})
        self._known: set[int] = set()  # batch sizes

    def update(self, samples: Sequence[Sample | Batch]) -> list[Scalars]:
        """Make one update with each of `at_once` samples; returns what the algorithm's own `update` does for each.

        Raises ValueError when there are more or fewer samples, or the algorithm is in the midst of its period.
        """
        done = self.algorithm.updates
        if len(samples) != self.at_once or done % self.algorithm.period:
            raise ValueError(f"{len(samples)} samples after {done} updates; expected {self.at_once} at a time")
        steps = [(*weighted(sample), self.algorithm.chance(sample)) for sample in samples]
        with self._announced(len(steps[0][1])), _traceable(), products_in(self.precision):
            found = self._graph(steps)
        self.algorithm.updates += self.at_once
        return found

    def _updates(self, steps: list[tuple[Batch, Tensor, Any]]) -> list[Scalars]:
        period = self.algorithm.period
        return [self.algorithm.learn(*step, actor=i % period == 0) for i, step in enumerate(steps, start=1)]

    @contextmanager
    def _announced(self, size: int) -> Iterator[None]:
        """Say that a batch size is compiled for, and how long it took."""
        if size in self._known:
            yield
            return
        self.tell(f"compiling {self.at_once} updates of {size} transitions each; takes a minute or so")
        began = time.monotonic()
        yield
        self.tell(f"compiled in {time.monotonic() - began:.0f} s")
        self._known.add(size)


def _traceable() -> Any:
    """Let the compiler see through torch.autograd.grad, and compile for every learner of a process, not just eight."""
    return torch._dynamo.config.patch(trace_autograd_ops=True, recompile_limit=10_000)
