"""docs/cli.md is made from `--help`: it fails with a diff, and `make golden` rewrites it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lnnc.cli import cli

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from commands(command.commands[name], f"{path} {name}")


def reference() -> str:
    text = "# Command line\n\nMade from `--help`; `make golden` rewrites it.\n"
    for path, command in commands(cli, "lnnc"):
        context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
        text += f"\n## {path}\n\n```\n{command.get_help(context).rstrip()}\n```\n"
    return text


def test_the_reference_is_what_help_says(request: pytest.FixtureRequest) -> None:
    text = reference()
    if request.config.getoption("--update-golden"):
        PAGE.write_text(text)
    assert PAGE.read_text() == text, "docs/cli.md is out of date: make golden"


EVERY = list(commands(cli, "lnnc"))


@pytest.mark.parametrize(("path", "command"), EVERY, ids=[path for path, _ in EVERY])
def test_every_command_explains_itself_and_its_options(path: str, command: click.Command) -> None:
    assert command.help
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert all(option.help for option in options)
