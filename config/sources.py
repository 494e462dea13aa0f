"""Loads the settings: flags before environment before file before defaults, each value with its source."""

from __future__ import annotations

import os
import re
import tomllib
from collections import ChainMap
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marshmallow import ValidationError

from config.environment import Given, flag_source, from_environment, hint
from config.errors import Problem, SettingsError
from config.flags import CONFIG_ENV, CONFIG_FLAG, Flags, parse_flags, suggestion
from config.keys import ClientKey, read_keys
from config.settings import DECLARATIONS, Settings, SettingsSchema
from config.sizing import sizing_problems

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Read unless a flag, a variable or the caller names another file; it may be missing.
DEFAULT_FILE = Path(__file__).resolve().parent.parent / "config.toml"

_BY_NAME = {each.name: each for each in DECLARATIONS}

#: Where the log format stands in a command line (one word a line) and in a file that could not be parsed.
_FORMAT_FLAG = re.compile(r"^--log-format[=\n](.*)$", re.MULTILINE)
_FORMAT_KEY = re.compile(r"^\s*log_format\s*=(.*)$", re.MULTILINE)


class _File(NamedTuple):
    """The settings file to read, its name in messages, and the source that named it (None: it may be missing)."""

    path: Path
    label: str
    named_by: str | None


def load_settings(
    argv: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
    *,
    version: str | None = None,
) -> Settings:
    """Merge and check all sources; `environ` is the process's own unless given.

    `--config` or CONFIG_FILE names the settings file, else `file`, else it is `config.toml` beside `app.py`.
    With `version`, `--version` prints it. --help and --version leave by SystemExit.

    Raises:
        SettingsError: there is a problem; the error lists all problems.
    """
    environ = os.environ if environ is None else environ
    flags = parse_flags(argv, version)
    problems = list(flags.problems)
    # A ChainMap is the precedence: the first mapping that holds a name decides its value and its source.
    settings_file = _choose_file(flags, environ, file)
    given = ChainMap(
        {name: Given(_BY_NAME[name].parse(text), flag_source(name)) for name, text in flags.values.items()},
        from_environment(environ),
        _from_file(settings_file, problems),
    )
    values = _checked(given, problems)
    keys = _client_keys(values.get("api_keys_file", ""), given, problems)
    settings = Settings(**values, sources={name: given[name].source for name in values}, client_keys=keys)
    # The right value of a refused setting is unknown, so only the others are checked against each other.
    refused = {key for problem in problems for key in problem.keys}
    problems += [problem for problem in sizing_problems(settings) if refused.isdisjoint(problem.keys)]
    if problems:
        log_format = _wanted_log_format(argv, given, settings_file.path)
        raise SettingsError(problems, log_format=log_format, hint=hint(problems, given))
    return settings


def _wanted_log_format(argv: Sequence[str], given: Mapping[str, Given], path: Path) -> str:
    """Return the log format that was meant, text or json, though flags, file or the setting itself may be refused."""
    found = _FORMAT_FLAG.findall("\n".join(argv))
    if not found and "log_format" in given:
        found = [str(given["log_format"].value)]
    if not found:
        with suppress(OSError, ValueError):
            found = _FORMAT_KEY.findall(path.read_text(encoding="utf-8", errors="replace"))
    return "json" if found and "json" in found[-1].lower() else "text"


def _choose_file(flags: Flags, environ: Mapping[str, str], file: Path | None) -> _File:
    if flags.config is not None:
        return _File(Path(flags.config), flags.config or '""', f"flag {CONFIG_FLAG}")
    if CONFIG_ENV in environ:
        name = environ[CONFIG_ENV]
        return _File(Path(name), name or '""', f"environment {CONFIG_ENV}")
    if file is not None:
        return _File(file, file.name, "the caller")
    return _File(DEFAULT_FILE, DEFAULT_FILE.name, None)


def _from_file(file: _File, problems: list[Problem]) -> dict[str, Given]:
    """Read the settings that `file` holds; report a file that cannot be read and unknown keys."""
    given: dict[str, Given] = {}
    for key, value in _read_toml(file, problems).items():
        declaration = _BY_NAME.get(key)
        if declaration is None or declaration.secret:
            problems.append(_foreign_key(key, value, file.label))
        else:
            given[key] = Given(value, file.label)
    return given


def _read_toml(file: _File, problems: list[Problem]) -> dict[str, Any]:
    try:
        if file.named_by is None and not file.path.exists():
            return {}
        content = file.path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        problems.append(Problem(f"{file.label} ({_named(file)}): cannot be read: {reason}"))
        return {}
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problems.append(Problem(f"{file.label} ({_named(file)}): is not UTF-8 text (at line {line})"))
    except ValueError as error:
        problems.append(Problem(f"{file.label} ({_named(file)}): is not TOML: {error}"))
    return {}


def _client_keys(path: str, given: Mapping[str, Given], problems: list[Problem]) -> tuple[ClientKey, ...]:
    """Read the file of the clients' keys, if one is named; report what is wrong with it."""
    if not path:
        return ()
    file = read_keys(path)
    where = f"api_keys_file = {path} ({given['api_keys_file'].source})"
    problems += [Problem(f"{where}: {problem}", ("api_keys_file",)) for problem in file.problems]
    return file.keys


def _named(file: _File) -> str:
    return f"named by {file.named_by}" if file.named_by else "the default file"


def _foreign_key(key: str, value: object, label: str) -> Problem:
    """Report a key that may not stand in the file. Its value is not quoted: it may be a secret."""
    declaration = _BY_NAME.get(key.lower())
    if declaration is not None and declaration.secret:
        return Problem(f"{key} ({label}): give it only by environment, as {declaration.env}", (key.lower(),))
    if isinstance(value, dict):
        return Problem(f"[{key}] ({label}): unknown table; settings stand at the top level")
    known = [each.name for each in DECLARATIONS if not each.secret]
    return Problem(f"{key} ({label}): unknown setting{suggestion(key.lower().replace('-', '_'), known)}")


def _checked(given: Mapping[str, Given], problems: list[Problem]) -> dict[str, Any]:
    """Return the values that pass the schema; report the others, each with its value and source."""
    try:
        loaded: dict[str, Any] = SettingsSchema().load({name: each.value for name, each in given.items()})
    except ValidationError as error:
        refusals = error.messages_dict
        for name in (each.name for each in DECLARATIONS if each.name in refusals):
            shown, source = _BY_NAME[name].quote(given[name].value), given[name].source
            problems.extend(Problem(f"{name} = {shown} ({source}): {reason}", (name,)) for reason in refusals[name])
        return dict(error.valid_data) if isinstance(error.valid_data, dict) else {}
    return loaded
