"""Bounds of settings: they stand in a setting's type, and `checked` holds a config to them."""

import re
import sys
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=0)]
CONFIG = "config.json"  # file in a run's folder
MOST = sys.float_info.max  # msgspec takes no infinite bound
Finite = Annotated[float, Meta(ge=-MOST, le=MOST)]
Positive = Annotated[float, Meta(gt=0, le=MOST)]
NotNegative = Annotated[float, Meta(ge=0, le=MOST)]
Share = Annotated[float, Meta(ge=0, le=1)]
Config = TypeVar("Config")


class SettingsError(ValueError):
    """A setting is out of its bounds, or settings do not go together."""

    exit_code = 2


class DivergedError(SettingsError):
    """With these settings what is learned is not finite any more."""


def checked(config: Config) -> Config:
    """The config itself. Raises SettingsError for the first setting that is not what its type says."""
    plain = msgspec.to_builtins(config, enc_hook=str)
    try:
        msgspec.convert(plain, type(config), dec_hook=_path)
    except msgspec.ValidationError as error:
        expected, _, where = str(error).replace("`", "").partition(" - at $.")
        found = reduce(_part, re.findall(r"\w+", where), plain)
        raise SettingsError(f"{where} is {found}; {expected[0].lower()}{expected[1:]}") from error
    return config


def as_json(config: Any) -> bytes:
    """What is written into a run's config.json."""
    return msgspec.json.format(msgspec.json.encode(config, enc_hook=str))


def read_config(path: Path, kind: type[Config]) -> Config:
    """The config in a run's config.json. Raises FileNotFoundError and msgspec's DecodeError."""
    return msgspec.json.decode(path.read_bytes(), type=kind, dec_hook=_path)


def _path(kind: type, text: Any) -> Path:
    """Paths, the one kind of setting that msgspec does not know."""
    return Path(text)


def _part(whole: Any, name: str) -> Any:
    """What stands under a name, or in a tuple at a place."""
    return whole[name] if isinstance(whole, dict) else whole[int(name)]
