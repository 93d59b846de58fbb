"""How a command line is put together: Typer, with every command imported and built only when it is the one asked for.

Typer builds all commands of an application before it looks at the first argument, and makes a validator for every
option even when no value is given; both cost more than most of our commands do. So a menu knows only the names of its
commands and one sentence about each, and options reach a command as they were typed, to be read strictly by ``flags``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from .. import __version__
from ..config import environment
from .output import is_terminal, note, show
from .shell import EXIT_USAGE

Program = Callable[[str, list[str]], int]
"""A program under its name, given its arguments; answers an exit code."""


class Entry:
    """A command that a menu can offer: where it is (``package.module:name``), and one sentence."""

    __slots__ = ("home", "says")

    def __init__(self, home: str, says: str) -> None:
        self.home = home
        self.says = says


class Menu:
    """Commands by name, none of them imported yet."""

    __slots__ = ("entries", "says")

    def __init__(self, says: str, entries: Mapping[str, Entry]) -> None:
        self.says = says
        self.entries = entries


def program(home: str) -> Program:
    """The command or menu at ``home``, ready to run."""

    def carry_out(name: str, arguments: list[str]) -> int:
        command = _built(home, name.removesuffix(".py"))
        with command.make_context(name, arguments) as context:
            code = command.invoke(context)
        return code if isinstance(code, int) else 0

    def within_typer(name: str, arguments: list[str]) -> int:
        try:
            return carry_out(name, arguments)
        except typer.Exit as leaving:  # --help and --version
            return leaving.exit_code

    return within_typer


def _built(home: str, name: str) -> TyperCommand | TyperGroup:
    module, _, attribute = home.partition(":")
    found = getattr(import_module(module), attribute)
    return _group(found, name) if isinstance(found, Menu) else _command(found, name)


def _command(function: Callable[..., object], name: str) -> TyperCommand:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=_AsTyped)(function)
    found = get_command(app)
    assert isinstance(found, TyperCommand)
    return found


def _group(menu: Menu, name: str) -> TyperGroup:
    app = typer.Typer(name=name, cls=_Deferred, help=menu.says, add_completion=False, rich_markup_mode=None)
    app.callback(invoke_without_command=True)(_without_a_command)
    found = get_command(app)
    assert isinstance(found, _Deferred)
    found.entries = menu.entries
    return found


def _without_a_command(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Show the version and exit."),
) -> None:
    if version:
        show(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        note(context.get_help())
        raise typer.Exit(EXIT_USAGE)


class _Reading:
    """Hands on what was typed: text as text, a repeated option as a list. Takes the place of Typer's own validators."""

    def coerce(self, value: object, param: Any, ctx: Any) -> object:
        if value is None and (param.multiple or param.nargs == -1):
            return ()
        return value


_READING = _Reading()
_SLOT = "_runtime_param"


def _read_as_typed(parameters: list[Any]) -> list[Any]:
    """Should another version of Typer keep its validators elsewhere, they do their work and only cost their time."""
    for parameter in parameters:
        if hasattr(parameter, _SLOT):
            setattr(parameter, _SLOT, _READING)
    return parameters


def _heading(words: str) -> str:
    from ..reports.render import paint, wants_colour

    return paint(words, "bold", colour=wants_colour(environment(), is_terminal=is_terminal(sys.stdout)))


class _AsTyped(TyperCommand):
    """A command whose options arrive as they were typed, and whose help is plain text in groups.

    Typer would draw the help in panels, which takes longer than most of our commands and does not survive a pipe.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        return _read_as_typed(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                group = (
                    "Arguments" if parameter.param_type_name == "argument" else parameter.rich_help_panel or "Options"
                )
                groups.setdefault(group, []).append((record[0].removesuffix(" <str>"), record[1]))
        groups["Options"] = groups.pop("Options")  # what every command has comes last
        for group, records in groups.items():
            with formatter.section(_heading(group)):
                formatter.write_dl(records)


class _Deferred(TyperGroup):
    """A group that imports and builds the one command that is asked for; its help needs none of them."""

    entries: Mapping[str, Entry] = {}

    def get_params(self, ctx: Any) -> list[Any]:
        return _read_as_typed(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = self.entries.get(cmd_name)
        return None if entry is None else TyperCommand(cmd_name, help=entry.says, rich_markup_mode=None)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        names: Any = dict.fromkeys(self.entries)
        self.commands = names  # where Typer's "did you mean" looks for them
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None:
            command = _built(self.entries[name].home, name)
        return name, command, rest
