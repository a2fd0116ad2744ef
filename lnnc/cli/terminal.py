"""What the commands say: text for people on a terminal, plain text in a pipe, errors, a spinner."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from lnnc.errors import LnncError

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130  # exit codes


def complain(text: str) -> None:
    """An error on stderr."""
    text = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)  # no terminal commands
    first, _, rest = text.partition("\n")
    head = "error: " if _no_color() else click.style("error: ", fg="red", bold=True)
    click.echo(head + first + (f"\n{rest}" if rest else ""), err=True)


def warn(texts: Iterable[str]) -> None:
    """Warnings on stderr, one line each."""
    for text in texts:
        head = "warning: " if _no_color() else click.style("warning: ", fg="yellow", bold=True)
        click.echo(head + text, err=True)


def _no_color() -> bool:
    import os

    return bool(os.environ.get("NO_COLOR"))


def say(text: str = "") -> None:
    """Text for people: coloured by rich on a terminal (NO_COLOR is honoured), plain when piped."""
    import errno

    try:
        if sys.stdout.isatty() and not _no_color():
            _show(text)
        else:
            click.echo(click.unstyle(text))
        sys.stdout.flush()
    except OSError as error:
        _discard_output()  # what could not be written would be tried again at the end
        if error.errno != errno.EPIPE:  # a reader that has seen enough, such as head, is no fault
            raise LnncError(f"cannot write the output ({error.strerror})", "standard output") from error


def _discard_output() -> None:
    """Let the rest of the output go nowhere; the exit code still tells the result."""
    import os

    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _show(text: str) -> None:
    from rich.console import Console
    from rich.highlighter import ReprHighlighter
    from rich.text import Text

    Console().print(ReprHighlighter()(Text.from_ansi(text)), soft_wrap=True)


def takes(characters: str) -> bool:
    """Whether standard output can show these characters."""
    try:
        characters.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def waiting(text: str) -> Any:
    """A spinner on a terminal's stderr while something long runs; nothing when piped."""
    from rich.console import Console

    return Console(stderr=True).status(text)


@contextmanager
def progressing(text: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal's stderr, a pulse until the first call of what is given: (done, of how many)."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[shown]}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(text, total=None, shown="")
        yield lambda done, total: bar.update(task, completed=done, total=total, shown=f"{done} of {total} {unit}")
