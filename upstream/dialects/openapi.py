"""Reads out of an OpenAPI document which routes of a server take texts to embed. Pure."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

#: Parts of a path, and members of a body, that tell of embeddings; the most telling first.
_PATHS = ("embed", "encode", "vector", "feature")
FIELDS = ("inputs", "input", "texts", "text", "sentences", "documents", "queries", "passages", "instances", "content")
#: Routes and members of one route that are looked at, and references within one another.
MAX_ROUTES, MAX_MEMBERS, MAX_DEPTH = 500, 100, 8

#: A path that can be asked for as it stands: without parameters (``{model}``) and what ends a request line.
_IS_PATH = re.compile(r"/[!-\"$-z|~]{0,500}").fullmatch


class Taker(NamedTuple):
    """A route that takes texts by POST in a JSON object."""

    path: str
    #: The member that holds the texts.
    field: str
    #: Whether that may be a list of texts; else each call takes one.
    takes_list: bool
    #: The other members that must be there, and all that are known.
    required: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    #: Texts that the list may have; None where the document does not say.
    most_items: int | None = None


def takers(document: object) -> list[Taker]:
    """Return the routes that take texts, the most likely first; none if this is no OpenAPI document."""
    paths = document.get("paths") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(paths, dict):
        return []
    found = [each for path in list(paths)[:MAX_ROUTES] for each in _of_route(document, path, paths[path])]
    return sorted(found, key=_rank)


def _rank(taker: Taker) -> tuple[bool, int, int, int]:
    path = taker.path.lower()
    by_path = next((at for at, part in enumerate(_PATHS) if part in path), len(_PATHS))
    by_field = FIELDS.index(taker.field) if taker.field in FIELDS else len(FIELDS)
    return not taker.takes_list, by_path, by_field, len(path)


def _of_route(document: dict[str, Any], path: str, methods: object) -> list[Taker]:
    operation = methods.get("post") if isinstance(methods, dict) else None
    schema = _body_of(document, operation)
    if not _IS_PATH(path) or schema is None:
        return []
    properties = schema.get("properties")
    members: dict[str, Any] = properties if isinstance(properties, dict) else {}
    required = frozenset(each for each in schema.get("required") or () if isinstance(each, str))
    is_named = any(part in path.lower() for part in _PATHS)
    found = []
    for name in list(members)[:MAX_MEMBERS]:
        takes_text, takes_list, most = _kinds(document, members[name])
        if takes_text or takes_list:
            found.append(Taker(path, name, takes_list, required - {name}, frozenset(members), most))
    known = [each for each in found if each.field in FIELDS]
    if not is_named:
        return [each for each in known if each.field in FIELDS[:3] and each.takes_list]
    # Of members with other names one counts that has to be there, rather one that takes a list.
    others = [each for each in found if each.field in required]
    return known or ([each for each in others if each.takes_list] or others)[:1]


def _body_of(document: dict[str, Any], operation: object) -> dict[str, Any] | None:
    """Return the schema of an operation's body, if that is a JSON object."""
    value: object = operation
    for name in ("requestBody", "content", "application/json", "schema"):
        value = _resolved(document, value)
        value = value.get(name) if isinstance(value, dict) else None
    schema = _resolved(document, value)
    return schema if isinstance(schema, dict) else None


def _kinds(
    document: dict[str, Any], value: object, depth: int = MAX_DEPTH, seen: set[int] | None = None
) -> tuple[bool, bool, int | None]:
    """Return whether a schema lets a text pass, and a list of texts, and how long the list may be.

    ``seen``: what was looked at already; references may run in circles.
    """
    schema = _resolved(document, value)
    seen = set() if seen is None else seen
    if not isinstance(schema, dict) or not depth or id(schema) in seen:
        return False, False, None
    seen.add(id(schema))
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    most = schema.get("maxItems")
    takes_list = "array" in kinds and _kinds(document, schema.get("items"), depth - 1)[0]
    limit = most if takes_list and isinstance(most, int) and not isinstance(most, bool) and most > 0 else None
    takes_text = "string" in kinds
    for name in ("anyOf", "oneOf", "allOf"):
        choices = schema.get(name)
        for each in choices if isinstance(choices, list) else ():
            text, several, some = _kinds(document, each, depth - 1, seen)
            takes_text, takes_list, limit = takes_text or text, takes_list or several, limit or some
    return takes_text, takes_list, limit


def _resolved(document: dict[str, Any], value: object) -> object:
    """Follow references within the document."""
    for _ in range(MAX_DEPTH):
        reference = value.get("$ref") if isinstance(value, dict) else None
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return value
        value = document
        for part in reference[2:].split("/"):
            value = value.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(value, dict) else None
    return None
