"""`lapwing dashboard`: watch a training run, finished or under way, from its folder alone."""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from deploy.dashboard.curves import read_curves
from deploy.dashboard.messages import Scene
from deploy.dashboard.process import DashboardError, opened
from deploy.signals import interruptible

LOOK_S = 0.5  # between two looks whether the page is still served


@dataclass(frozen=True)
class DashboardConfig:
    run: Path = Path("runs/demo/train")  # folder that `lapwing train` or `lapwing teach` wrote, or writes
    port: int = 8600  # on loopback


def dashboard(config: DashboardConfig, console: Console) -> None:
    """Show the run's curves until Ctrl-C. Raises RunError for what is no run, DashboardError for a port in use."""
    read_curves(config.run)
    with interruptible(), suppress(KeyboardInterrupt), opened(config.port) as link:
        link.tell(Scene(kind="run", title=f"run {config.run}", run=str(config.run)))
        console.print(f"dashboard at {link.to_watch}; Ctrl-C ends", soft_wrap=True)
        while not link.gone:
            time.sleep(LOOK_S)
            list(link.heard())
        raise DashboardError("the dashboard's process has ended")
