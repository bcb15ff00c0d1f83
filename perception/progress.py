"""The progress bar of a long job: how far, how fast, how long still."""

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class RateColumn(ProgressColumn):
    """Units done per second: of late, and in the end on the whole."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        whole = task.completed / task.finished_time if task.finished_time else None
        return Text(f"{whole or task.speed or 0:.0f} {self.unit}/s", style="progress.data.speed")


def progress_bar(unit: str, *figures: str) -> Progress:
    """Return a bar that counts `unit`s; `figures` are further columns, templates such as "loss {task.fields[loss]}"."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(unit),
        *map(TextColumn, figures),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
