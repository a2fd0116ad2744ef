"""docs/cli.md is made from `--help`: it fails with a diff, and `make golden` rewrites it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lnnc.cli import cli

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"


def contexts(parent: click.Context) -> Iterator[click.Context]:
    """A context for every command, each under its group's, as a real call makes them."""
    yield parent
    if isinstance(parent.command, click.Group):
        for name in sorted(parent.command.commands):
            yield from contexts(click.Context(parent.command.commands[name], parent=parent, info_name=name, **WIDTH))


WIDTH = {"terminal_width": 100, "max_content_width": 100}
EVERY = list(contexts(click.Context(cli, info_name="lnnc", help_option_names=["-h", "--help"], **WIDTH)))


def reference() -> str:
    text = "# Command line\n\nMade from `--help`; `make golden` rewrites it.\n"
    for context in EVERY:
        text += f"\n## {context.command_path}\n\n```\n{context.get_help().rstrip()}\n```\n"
    return text


def test_the_reference_is_what_help_says(update_golden: bool) -> None:
    text = reference()
    if update_golden:
        PAGE.write_text(text)
    assert PAGE.read_text() == text, "docs/cli.md is out of date: make golden"


@pytest.mark.parametrize("context", EVERY, ids=[context.command_path for context in EVERY])
def test_every_command_explains_itself_and_its_options(context: click.Context) -> None:
    assert context.command.help
    assert all(option.help for option in context.command.params if isinstance(option, click.Option))
