"""Files that are whole or not there: written beside their name and renamed."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, making its folder; a reader sees the old content or the new, never a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
