"""A bar on a terminal's stderr: what is trained, how far, the loss, the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Bar = Callable[[int, float], None]  # (steps done, loss)


@contextmanager
def progress(label: str, steps: int, done: int, show: bool) -> Iterator[Bar]:
    """A function to call after every step; it shows nothing unless `show` and stderr is a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not (show and console.is_terminal):
        yield lambda step, loss: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shown = TextColumn("loss {task.fields[loss]:.4g}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), shown, TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label or "training", total=steps, completed=done, loss=float("nan"))
        yield lambda step, loss: bar.update(task, completed=step, loss=loss)
