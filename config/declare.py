"""Declares a setting in one place: its group, default, limits, check and meaning."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, TypeVar

from marshmallow import fields, validate

from config.fields import Choice, Host, OriginList, Switch, UrlList, redacted

T = TypeVar("T")

#: Strict on purpose: no sign but minus, no leading zero, no spaces or underscores, no float.
_WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_LONGEST_QUOTE = 120
#: The most that a setting of a duration may be: an hour.
LONGEST_TIMEOUT_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Declaration:
    """One setting: where its values may come from, what they may be and what they mean."""

    group: str
    meaning: str
    limits: str
    check: fields.Field[Any]
    default: object
    default_words: str | None = None
    example: object = None
    secret: bool = False
    name: str = ""

    @property
    def env(self) -> str:
        """The environment variable."""
        return self.name.upper()

    @property
    def flag(self) -> str:
        """The command-line flag; a secret has none."""
        return "--" + self.name.replace("_", "-")

    def parse(self, text: str) -> object:
        """Turn the text of a flag or variable into the value that TOML would have given.

        Text that is not a number where one is wanted stays text, for the schema to refuse.
        """
        if isinstance(self.check, fields.Integer) and _WHOLE_NUMBER.fullmatch(text):
            return int(text)
        return text

    def quote(self, value: object) -> str:
        """Show a refused value in one short, safe line."""
        if self.secret:
            return "(hidden)"
        text = json.dumps(value, default=str)
        if isinstance(self.check, UrlList):
            text = redacted(text)
        return text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 3] + "..."

    def show(self, value: object) -> str:
        """Show an accepted value; of a secret only whether there is one."""
        if self.secret:
            return "unset" if value is None else "set"
        if value == self.default and self.default_words:
            return self.default_words
        return ", ".join(value) if isinstance(value, tuple) else str(value)


def whole_number(group: str, default: int, limits: tuple[int, int], unit: str, meaning: str) -> int:
    """Declare a whole number within `limits`, both included, counted in `unit`."""
    low, high = limits
    words = f"{low} to {high} {unit}".strip()
    error = f"must be a whole number, {words}"
    check = fields.Integer(
        strict=True, error_messages={"invalid": error}, validate=validate.Range(low, high, error=error)
    )
    return _declared(Declaration(group, meaning, words, check, default), default)


def choice(group: str, default: str, choices: tuple[str, ...], meaning: str) -> str:
    """Declare one word out of `choices`."""
    limits = " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))
    error = f"must be {limits}"
    check = Choice(error_messages={"invalid": error}, validate=validate.OneOf(choices, error=error))
    return _declared(Declaration(group, meaning, limits, check, default), default)


def switch(group: str, default: str, meaning: str) -> str:
    """Declare what is on or off."""
    error = "must be on or off"
    check = Switch(error_messages={"invalid": error}, validate=validate.OneOf(("on", "off"), error=error))
    return _declared(Declaration(group, meaning, "on or off", check, default), default)


def address(group: str, default: str, meaning: str) -> str:
    """Declare a name or address to listen on."""
    limits = "host name or IP address"
    check = Host(error_messages={"invalid": f"must be a {limits}, without a port"})
    return _declared(Declaration(group, meaning, limits, check, default), default)


def text(group: str, check: fields.String, unset: str, meaning: str) -> str:
    """Declare a text that `check` reads, empty by default, which means what `unset` says.

    ``check.limits`` says in words what it may be.
    """
    return _declared(Declaration(group, meaning, check.metadata["limits"], check, "", unset), "")


def urls(group: str, example: str, unset: str, meaning: str) -> tuple[str, ...]:
    """Declare a list of http(s) URLs, empty by default, which means what `unset` says."""
    default: tuple[str, ...] = ()
    limits = "http(s) URLs"
    return _declared(Declaration(group, meaning, limits, UrlList(), default, unset, example), default)


def origins(group: str, example: str, unset: str, meaning: str) -> tuple[str, ...]:
    """Declare a list of web origins, empty by default, which means what `unset` says."""
    default: tuple[str, ...] = ()
    return _declared(Declaration(group, meaning, "origins or *", OriginList(), default, unset, example), default)


def secret(group: str, meaning: str) -> str | None:
    """Declare a secret: only the environment may hold it, and no message shows it."""
    check = fields.String(
        validate=[
            validate.Length(min=1, error="is empty: unset it or give it a value"),
            # It is sent in a header. A newline at its end is a common mistake.
            validate.Regexp(r"[!-~]*\Z", error="must be printable ASCII without spaces or line ends"),
        ]
    )
    return _declared(Declaration(group, meaning, "environment only", check, None, secret=True), None)


def _declared(declaration: Declaration, default: T) -> T:
    """Put the declaration into a dataclass field's metadata; to a type checker the result is the default."""
    return field(default=default, metadata={"declaration": declaration})
