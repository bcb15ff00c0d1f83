"""Code that imports a program as on a machine where some packages are not installed."""

BLOCKER = """
import sys
from importlib.abc import MetaPathFinder

class Blocker(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ImportError(f"{{name}} is not on the car")

sys.meta_path.insert(0, Blocker())
import {modules}
"""


def import_without(packages: set[str], *modules: str) -> str:
    """Code that imports these modules, and fails where any of them imports one of the packages."""
    return BLOCKER.format(packages=packages, modules=", ".join(modules))
