"""Reads the flags of the command line, and builds its help text."""

from __future__ import annotations

import argparse
import difflib
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from config.errors import Problem
from config.settings import DECLARATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from config.declare import Declaration

CONFIG_FLAG = "--config"
CONFIG_ENV = "CONFIG_FILE"

_USAGE = "python app.py [--SETTING VALUE ...]\n       python app.py check [--help] [--SETTING VALUE ...]"
_DESCRIPTION = "Batches single embedding requests in front of an embedding server."
_EPILOG = "A flag beats the environment, which beats the file, which beats the default."


class Flags(NamedTuple):
    """The texts given by flags, by setting name, and what was wrong on the command line."""

    values: dict[str, str]
    config: str | None
    problems: list[Problem]


class _RefusedError(Exception):
    """argparse could not parse the command line."""


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise _RefusedError(message)


class _HelpFormatter(argparse.HelpFormatter):
    """Shows `--port N`: the parser takes a flag without value, so that `parse_flags` can report it."""

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        return str(action.metavar or default_metavar)


def parse_flags(argv: Sequence[str], version: str | None = None) -> Flags:
    """Read `argv`, collecting problems instead of exiting; only --help and --version exit."""
    try:
        namespace, rest = _parser(version).parse_known_args(list(argv))
    except _RefusedError as error:
        return Flags({}, None, [Problem(f"command line: {error}")])
    given: dict[str, list[str | None]] = vars(namespace)
    problems = _unknown(rest)
    configs = given.pop("config", [])
    if None in configs:
        problems.append(_without_value(CONFIG_FLAG))
    values: dict[str, str] = {}
    for each in DECLARATIONS:
        texts = given.get(each.name)
        if texts is None:
            continue
        if each.secret:
            problems.append(Problem(f"flag {each.flag}: give it only by environment, as {each.env}", (each.name,)))
        elif texts[-1] is None:
            problems.append(_without_value(each.flag, each.name))
        else:
            values[each.name] = _combined(each, texts)
    return Flags(values, configs[-1] if configs else None, problems)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" for a misspelt word, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _combined(declaration: Declaration, texts: list[str | None]) -> str:
    """Return the last text of a repeated flag; a list of URLs joins all texts."""
    if isinstance(declaration.default, tuple):
        return ",".join(text for text in texts if text is not None)
    return texts[-1] or ""


def _without_value(flag: str, *keys: str) -> Problem:
    return Problem(f"flag {flag}: needs a value", keys)


def _unknown(rest: list[str]) -> list[Problem]:
    """Report flags and words that no declaration has. Values are not quoted: one may be a secret in the wrong place."""
    known = [CONFIG_FLAG, *(each.flag for each in DECLARATIONS if not each.secret)]
    secret = tuple(each.flag for each in DECLARATIONS if each.secret)
    problems = []
    after_flag = False
    for word in rest:
        flag = word.partition("=")[0] if word.startswith("--") else word[:2]
        if word.startswith("-"):
            hint = suggestion(flag.lower().replace("_", "-"), known)
            # Text right behind the name of a secret's flag may be the secret.
            shown = next((f"{each}..." for each in secret if flag.startswith(each)), flag)
            problems.append(Problem(f"flag {shown}: unknown{hint}"))
        elif not after_flag:
            problems.append(Problem("command line: a word that belongs to no flag"))
        after_flag = word.startswith("-") and "=" not in word
    return problems


def _parser(version: str | None) -> argparse.ArgumentParser:
    parser = _Parser(
        usage=_USAGE,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    if version is not None:
        parser.add_argument("--version", action="version", version=version)
    file_help = f"The settings file (default config.toml beside app.py; environment {CONFIG_ENV})."
    parser.add_argument(CONFIG_FLAG, nargs="?", action="append", metavar="PATH", help=file_help)
    for title, declarations in groupby(DECLARATIONS, key=lambda each: each.group):
        group = parser.add_argument_group(title)
        for each in declarations:
            # A secret's flag is known to the parser so that it is refused together with its value.
            group.add_argument(each.flag, nargs="?", action="append", metavar=_metavar(each), help=_help(each))
        secrets = [each for each in DECLARATIONS if each.group == title and each.secret]
        if secrets:
            group.description = "Only by environment: " + " ".join(f"{each.env}: {each.meaning}" for each in secrets)
    return parser


def _metavar(declaration: Declaration) -> str:
    return "N" if isinstance(declaration.default, int) else "VALUE"


def _help(declaration: Declaration) -> str:
    if declaration.secret:
        return argparse.SUPPRESS
    default = declaration.show(declaration.default)
    text = f"{declaration.meaning} ({declaration.limits}; default {default}; environment {declaration.env})"
    return text.replace("%", "%%")
