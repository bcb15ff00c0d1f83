"""The trials of a sweep: every combination of a grid's values and the seeds, and the file that keeps their configs."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from agent.results.plot import flat
from agent.settings import checked
from agent.sync.config import SyncConfig
from agent.training.config import TrainConfig
from perception.files import write_whole

PLAN = "sweep.json"  # in a sweep's folder: the config of each trial by its name
OURS = ("seed", "out", "resume")  # options of `lapwing train` that a sweep sets

TrialConfig = SyncConfig | TrainConfig
Parse = Callable[[list[str]], TrialConfig]  # options of `lapwing train` to its config


class SweepError(ValueError):
    """A grid is none, or a folder holds another sweep."""

    exit_code = 2


@dataclass(frozen=True)
class Trial:
    """One run of a sweep."""

    name: str  # and its folder's: the grid's settings and the seed
    settings: dict[str, str]  # those in the grid, in its order, each with its value
    arguments: list[str]  # of `lapwing train`, but for --resume
    config: TrialConfig


def trials(out: Path, seeds: Sequence[int], grid: Iterable[str], options: list[str], parse: Parse) -> list[Trial]:
    """Every combination × seed, all of them valid; the last seed comes first, then the last axis.

    Raises SweepError where grid or seeds say no trials, or the same twice; what `parse` and `checked` raise.
    """
    _insist_on_theirs(options)
    axes = [axis(text) for text in grid]
    if twice := _twice(key for key, _ in axes):
        raise SweepError(f"--grid sets {twice} twice; expected each setting once, with all its values")
    if not seeds:
        raise SweepError("--seeds has none; expected one at least")
    parse(options)  # what is wrong there is no fault of the grid
    keys = [key for key, _ in axes]
    found = [
        _trial(out, seed, dict(zip(keys, values, strict=True)), options, parse)
        for values in product(*(values for _, values in axes))
        for seed in seeds
    ]
    if twice := _twice(trial.name for trial in found):
        raise SweepError(f"two runs are {twice}; expected each seed and each value of a setting once")
    return found


def axis(text: str) -> tuple[str, list[str]]:
    """Key and values out of SETTING=VALUE,VALUE,…; a setting of several numbers has spaces between them."""
    key, _, values = text.partition("=")
    key, each = key.replace("_", "-"), values.split(",")
    if not (key and all(value.strip() for value in each)):
        raise SweepError(f"--grid {text}: expected SETTING=VALUE,VALUE,…, for example td3.actor-lr=1e-4,1e-3")
    if key in OURS or (key == "encoder" and "none" in each):
        raise SweepError(f"--grid {text}: {key} is not for a grid; see lapwing sweep --help")
    return key, each


def claim(out: Path, planned: list[Trial]) -> None:
    """Write the plan. Raises SweepError when the folder holds anything but a sweep whose trials are among these."""
    file = out / PLAN
    configs = {trial.name: _plain(trial.config) for trial in planned}
    for name, before in _written(file).items():
        if name not in configs:
            raise SweepError(f"{file}: {name} is not among these runs; expected more runs or the same, --out elsewhere")
        now, before = flat(configs[name]), flat(before)
        for key in now:
            if before.get(key) != now[key]:
                raise SweepError(
                    f"{file}: {key} of {name} was {before.get(key)}, now it is {now[key]}; expected the same"
                )
    write_whole(file, msgspec.json.format(msgspec.json.encode(configs)))


def _trial(out: Path, seed: int, values: dict[str, str], options: list[str], parse: Parse) -> Trial:
    chosen = [word for key, value in values.items() for word in (f"--{key}", *value.split())]
    bare = [*options, *chosen, "--seed", str(seed)]
    config = checked(parse(bare))
    settings = {key: _text(config, key) for key in values}
    name = ",".join(f"{key}={value}" for key, value in [*sorted(settings.items()), ("seed", str(seed))])
    arguments = [*bare, "--out", str(out.absolute() / name)]
    return Trial(name, settings, arguments, parse(arguments))


def _text(config: TrialConfig, key: str) -> str:
    """A setting's value as it can stand in a name, the same however it was written (1e-4, 0.0001)."""
    value = reduce(getattr, key.replace("-", "_").split("."), config)
    return str(value) if isinstance(value, float) else re.sub(r"[^\w.+]+", "-", str(value)).strip("-")


def _insist_on_theirs(options: list[str]) -> None:
    """Raise SweepError where the options of `lapwing train` set what the sweep sets."""
    for option in options:
        if re.fullmatch(rf"--(no-)?({'|'.join(OURS)})(=.*)?", option):
            raise SweepError(f"{option} after --: a sweep sets that itself; see lapwing sweep --help")


def _twice(names: Iterable[str]) -> str | None:
    """The first name that is there more than once."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _plain(config: TrialConfig) -> dict[str, Any]:
    """The config as JSON has it, but for its folder, which may be moved."""
    plain = msgspec.json.decode(msgspec.json.encode(config, enc_hook=str))
    del plain["out"]
    return plain


def _written(file: Path) -> dict[str, dict[str, Any]]:
    """The plan that is there already, empty in an empty folder. Raises SweepError where there is something else."""
    if not file.exists():
        if file.parent.exists() and any(file.parent.iterdir()):
            raise SweepError(f"{file.parent}: holds something else; expected a sweep's folder or an empty one")
        return {}
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, Any]])
    except msgspec.DecodeError as error:
        raise SweepError(f"{file}: not the plan of a sweep ({error}); expected what `lapwing sweep` writes") from error
