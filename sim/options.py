"""Options as a user gives them: read, checked, and refused in one line."""

from collections.abc import Mapping
from inspect import signature
from typing import Any, TypeVar

import msgspec

Options = TypeVar("Options")  # a dataclass


class ScenarioError(ValueError):
    """Something is asked for that there is not."""

    exit_code = 2


def expect(holds: bool, option: str, found: object, expected: str) -> None:
    """Raise ScenarioError, which tells option, finding and expectation, unless it holds."""
    if not holds:
        raise ScenarioError(f"{option} is {found!r}; expected {expected}")


def read_options(kind: type[Options], given: Mapping[str, object]) -> Options:
    """Make a dataclass of options that a user gave, lists for tuples and whole numbers for parts allowed.

    Raises ScenarioError, which names in one line what is unknown or of another type than expected.
    """
    known = list(signature(kind).parameters)
    for name in given:
        expect(name in known, "option", name, f"one of {', '.join(known)}")
    try:
        return msgspec.convert(msgspec.to_builtins(given, enc_hook=_plain), kind)
    except msgspec.ValidationError as error:  # of a field: "Expected `int`, got `str` - at `$.road_seed`"
        what, _, where = str(error).partition(" - at `$.")
        name = where.rstrip("`").partition("[")[0].partition(".")[0]
        raise ScenarioError(f"{name} is {given[name]!r}; e{what[1:]}" if where else what) from None


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's."""
    return value.tolist()
