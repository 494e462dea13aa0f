"""Reads the file of the clients' keys: TOML, a table ``[[keys]]`` for each client."""

from __future__ import annotations

import hashlib
import re
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from marshmallow import Schema, ValidationError, fields, post_load, validate

#: Bytes and tables of one file: far more than clients have names.
MOST_BYTES, MOST_KEYS = 1_000_000, 1000
#: What metrics call the clients that have no name.
OTHERS = "other"

_TABLE = "keys"
_EMPTY = hashlib.sha256(b"").digest()
#: Where a parser's message says that the mistake is; the rest of the message may quote what stands there.
_PLACE = re.compile(r"\(at [a-z0-9, ]+\)\Z")


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One client as the file describes it. Its key is known by the digest alone, which no text of it shows."""

    name: str
    #: SHA-256 of the key.
    digest: bytes = field(repr=False)
    is_bulk: bool = False
    weight: int = 1
    #: Requests admitted at once, in each worker process; None: no cap of its own.
    max_requests: int | None = None


class KeysFile(NamedTuple):
    """The keys of a file, or what is wrong with it: a line for each mistake, none of which quotes a value."""

    keys: tuple[ClientKey, ...]
    problems: tuple[str, ...] = ()


def read_keys(path: str) -> KeysFile:
    """Read the file; if anything is wrong with it, none of its keys counts."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as trouble:
        return _wrong(f"cannot be read: {trouble.strerror or type(trouble).__name__}")
    if len(content) > MOST_BYTES:
        return _wrong(f"has more than {MOST_BYTES} bytes")
    try:
        tables = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return _wrong("is not UTF-8 text")
    except RecursionError:
        return _wrong("is nested too deeply")
    except ValueError as problem:
        place = _PLACE.search(str(problem))
        return _wrong(f"is not TOML {place.group() if place else ''}".strip())
    return _keys_of(tables)


def others_may_read(path: str) -> bool:
    """Whether every user of the machine may read the file; False where that cannot be told."""
    try:
        return bool(Path(path).stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _wrong(*problems: str) -> KeysFile:
    return KeysFile((), problems)


def _keys_of(tables: dict[str, Any]) -> KeysFile:
    listed = tables.get(_TABLE)
    if tables.keys() - {_TABLE}:
        return _wrong(f"may hold tables [[{_TABLE}]] and nothing else")
    if not isinstance(listed, list) or not listed or not all(isinstance(each, dict) for each in listed):
        return _wrong(f"holds no table [[{_TABLE}]]")
    if len(listed) > MOST_KEYS:
        return _wrong(f"has more than {MOST_KEYS} tables [[{_TABLE}]]")
    keys: list[ClientKey] = []
    problems: list[str] = []
    schema = _KeySchema()
    for number, table in enumerate(listed, 1):
        where = f"[[{_TABLE}]] number {number}"
        try:
            key: ClientKey = schema.load(table)
        except ValidationError as refused:
            problems += [f"{where}: {name}: {words}" for name, words in _told(refused)]
            continue
        if any(key.name == other.name for other in keys):
            problems.append(f"{where}: name: another client has it")
        if any(key.digest == other.digest for other in keys):
            problems.append(f"{where}: another client has the same key")
        keys.append(key)
    return _wrong(*problems) if problems else KeysFile(tuple(keys))


def _told(refused: ValidationError) -> list[tuple[str, str]]:
    """Return the members that are wrong, and why. An unknown name is not told: it may be a key in the wrong place."""
    told: dict[str, str] = {}
    for name, words in refused.messages_dict.items():
        if name in _MEMBERS:
            told[name] = words[0]
        else:
            told["(unknown)"] = f"the members are {', '.join(_MEMBERS)}"
    return list(told.items())


class _KeySchema(Schema):
    """One table; loads as a ``ClientKey``."""

    name = fields.String(
        required=True,
        error_messages={"required": "must be given", "invalid": "must be a text"},
        validate=[
            validate.Regexp(
                r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
                error="must be letters, digits, dots, dashes and underscores, 64 at most",
            ),
            validate.NoneOf([OTHERS], error=f"must not be {OTHERS}, which is what metrics call all without a name"),
        ],
    )
    key = fields.String(
        error_messages={"invalid": "must be a text"},
        validate=validate.Regexp(r"[!-~]{1,1000}\Z", error="must be printable ASCII without spaces, 1000 at most"),
    )
    sha256 = fields.String(
        error_messages={"invalid": "must be a text"},
        validate=validate.Regexp(r"[0-9A-Fa-f]{64}\Z", error="must be the key's SHA-256, 64 hexadecimal digits"),
    )
    class_ = fields.String(
        data_key="class",
        load_default="interactive",
        error_messages={"invalid": "must be a text"},
        validate=validate.OneOf(["interactive", "bulk"], error="must be interactive or bulk"),
    )
    weight = fields.Integer(
        strict=True,
        load_default=1,
        error_messages={"invalid": "must be a whole number, 1 to 100"},
        validate=validate.Range(1, 100, error="must be a whole number, 1 to 100"),
    )
    max_requests = fields.Integer(
        strict=True,
        load_default=None,
        error_messages={"invalid": "must be a whole number, 1 to 10000"},
        validate=validate.Range(1, 10_000, error="must be a whole number, 1 to 10000"),
    )

    @post_load
    def _made(self, given: dict[str, Any], **_: Any) -> ClientKey:
        if ("key" in given) == ("sha256" in given):
            raise ValidationError("one of key and sha256 must be given", "key")
        if given["name"] == given.get("key"):
            raise ValidationError("must not be the key itself", "name")
        digest = bytes.fromhex(given["sha256"]) if "sha256" in given else hashlib.sha256(given["key"].encode()).digest()
        if digest == _EMPTY:
            raise ValidationError("is that of an empty key", "sha256")
        return ClientKey(given["name"], digest, given["class_"] == "bulk", given["weight"], given["max_requests"])


_MEMBERS = ("name", "key", "sha256", "class", "weight", "max_requests")
