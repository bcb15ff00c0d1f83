"""How shapes are checked while tests run: every function whose signature names one, such as Float[Tensor, "batch"].

All other types are the static type checker's, which needs nothing to be run.
"""

from collections.abc import Callable
from typing import Any, get_args

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

CONF = BeartypeConf(is_pep484_tower=True)  # an int will do for a float


def check(function: Callable) -> Callable:
    """Have beartype check the function if its signature names a shape."""
    named = any(map(_names_a_shape, function.__annotations__.values()))
    return beartype(conf=CONF)(function) if named else function


def _names_a_shape(hint: Any) -> bool:
    return (isinstance(hint, type) and issubclass(hint, AbstractArray)) or any(map(_names_a_shape, get_args(hint)))
