"""Where a run's snapshots are; apart from what is in them, so that who only looks for them need not load torch."""

from pathlib import Path

CHECKPOINTS = "checkpoints"  # folder in a run's folder


def snapshots(folder: Path) -> list[Path]:
    """All snapshots in the folder, the newest first, sound or not."""
    return sorted((path for path in folder.glob("step-*") if path.suffix != ".part"), reverse=True)
