"""What a run writes down while it learns: TensorBoard scalars, a row per episode and evaluation, the best policy."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.tensorboard.writer import SummaryWriter

from perception.files import write_whole


@dataclass(frozen=True)
class Episode:
    """A training episode."""

    step: int  # of the run, at the end of the episode
    episode: int
    total: float  # sum of the rewards
    length: int  # steps
    terminated: bool  # rather than timed out
    updates: int


@dataclass(frozen=True)
class Evaluation:
    """Some episodes without noise."""

    step: int
    episodes: int
    mean: float  # of the returns
    std: float  # of the returns
    length: float  # mean, steps
    updates: int
    seconds: float  # that training has taken so far


class Curves:
    """A folder of TensorBoard curves; one that goes on from a step forgets what came after it."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def add(self, group: str, values: Mapping[str, float | Tensor], step: int) -> None:
        """Add a point to each of these curves; the transitions' own priorities are none."""
        for name, value in values.items():
            if name != "priority":
                self._writer.add_scalar(f"{group}/{name}", float(value), step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._writer.close()


class Metrics:
    """The files of one run: episodes.csv, evaluations.csv, tensorboard/, best.safetensors, last.safetensors.

    A run that goes on from step n has no rows of later steps: what came after the snapshot is cut off here, and
    TensorBoard is told to forget it.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self.folder = folder
        self.evaluations = _evaluations(_rows_until(folder / "evaluations.csv", "step", step))
        self._curves = Curves(folder / "tensorboard", step)
        episode, evaluation = ([field.name for field in fields(kind)] for kind in (Episode, Evaluation))
        self._episodes = Table(folder / "episodes.csv", episode, "step", step)
        self._evaluations = Table(folder / "evaluations.csv", evaluation, "step", step)

    @property
    def best(self) -> float:
        """The greatest mean return of an evaluation that was a number; −inf before the first."""
        means = (evaluation.mean for evaluation in self.evaluations)
        return max((mean for mean in means if not math.isnan(mean)), default=-math.inf)

    def episode(self, episode: Episode) -> None:
        """Note a training episode."""
        self._episodes.write(astuple(episode))
        self.scalars("episode", {"return": episode.total, "length": episode.length}, episode.step)

    def evaluation(self, evaluation: Evaluation, policy: nn.Module) -> None:
        """Note an evaluation; keep the policy as last.safetensors, and as best.safetensors if none was better."""
        save_policy(self.folder / "last.safetensors", policy, evaluation)
        if evaluation.mean > self.best:
            save_policy(self.folder / "best.safetensors", policy, evaluation)
        self.evaluations.append(evaluation)
        self._evaluations.write(astuple(evaluation))
        self.scalars("evaluation", {"return": evaluation.mean, "length": evaluation.length}, evaluation.step)

    def scalars(self, group: str, values: Mapping[str, float | Tensor], step: int) -> None:
        """Add a point to each of these TensorBoard curves."""
        self._curves.add(group, values, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._curves.__exit__(kind, error, at)
        self._episodes.close()
        self._evaluations.close()


def save_policy(path: Path, policy: nn.Module, evaluation: Evaluation) -> None:
    """Write the policy's weights whole; their metadata says how it did when."""
    tensors = {name: tensor.contiguous() for name, tensor in policy.state_dict().items()}
    write_whole(path, save(tensors, {name: str(value) for name, value in asdict(evaluation).items()}))


def read_evaluations(path: Path) -> list[Evaluation]:
    """All rows of an evaluations.csv. Raises ValueError naming the file when it is none."""
    try:
        with path.open(newline="") as file:
            return _evaluations(list(csv.DictReader(file)))
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path}: not a table of evaluations ({error})") from error


def _evaluations(rows: list[dict[str, str]]) -> list[Evaluation]:
    return msgspec.convert(rows, list[Evaluation], strict=False)  # numbers out of text


class Table:
    """A CSV file with a row per record; whoever reads it while the run goes on finds whole rows.

    A run that goes on keeps the rows whose `key` is at most `until`; with `until` 0 it begins.
    """

    def __init__(self, path: Path, names: list[str], key: str, until: int) -> None:
        kept = io.StringIO(newline="")
        writer = csv.DictWriter(kept, names)
        writer.writeheader()
        writer.writerows(_rows_until(path, key, until))
        write_whole(path, kept.getvalue().encode())
        self._file = path.open("a", newline="", buffering=1)
        self._writer = csv.writer(self._file)

    def write(self, row: Sequence[Any]) -> None:
        """Add a row."""
        self._writer.writerow(row)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _rows_until(path: Path, key: str, until: int) -> list[dict[str, str]]:
    """The rows whose `key` is at most `until`; none when a run starts."""
    if until == 0 or not path.exists():
        return []
    whole, _, _ = path.read_bytes().decode().rpartition("\n")  # a process that was killed may have left half a row
    rows = csv.DictReader(io.StringIO(whole, newline=""))
    return [row for row in rows if (row[key] or "").isdigit() and int(row[key]) <= until]
