"""Finds what a server says of an error in its body, in every form that is in use.

The form is found by the bytes: servers label JSON as text, and gateways answer in their place. Pure; the work is linear
in the body.
"""

from __future__ import annotations

import html
import re
from typing import Any

import msgspec

from upstream.dialects.relaying import MAX_READ, joined, relayed

#: Levels of JSON around a sentence, and elements of a list that are looked at.
MAX_DEPTH, MAX_LISTED = 5, 20
#: What an error has no type of its own for.
DEFAULT_TYPE = "Validation"

#: Members that hold a server's words, the most telling first: ``error`` may be the status's name beside ``message``,
#: and ``title`` is that of RFC 9457. Inputs are echoed in ``input``, ``ctx`` and others, which are not read.
_MEMBERS = (
    *("message", "Message", "detail", "msg", "error", "errors", "error_message", "error_description", "reason"),
    *("description", "title"),
)
#: TEI's own types, which stand in ``type`` on its OpenAI routes: other servers have other words there.
_TEI_TYPES = frozenset({"Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer", "Empty"})
#: What a type has to look like to be passed on.
_TYPE = re.compile(r"[A-Za-z]{1,40}").fullmatch
_NAME = re.compile(r"[A-Za-z_]\w{0,60}").fullmatch
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read(body: bytes) -> tuple[str, str]:
    """Return the text and the type of an error's body: ``""`` and ``Validation`` where it has none.

    The text is one line of at most 500 characters.
    """
    text = body.decode("utf-8-sig", "replace").strip()
    if text[:1] == "<":
        return relayed(_of_page(text)), DEFAULT_TYPE
    said = decoded(body)
    if said is not None or text == "null":
        return relayed(_sentence(said)), _type(said)
    if text[:1] in {"{", "["}:
        return relayed(_of_broken_json(text)), DEFAULT_TYPE
    return relayed(text if _is_legible(text) else ""), DEFAULT_TYPE


def decoded(body: bytes) -> Any:
    """Return the value of a JSON text, with or without a byte order mark; None if it is none."""
    try:
        return msgspec.json.decode(body)
    except _UNREADABLE:
        pass
    try:  # there may be a mark, and a string in it may not be UTF-8
        return msgspec.json.decode(body.decode("utf-8-sig", "replace"))
    except _UNREADABLE:
        return None


# ---- where the sentence stands ------------------------------------------------------------------


def _sentence(said: Any, depth: int = MAX_DEPTH) -> str:
    """Return the words in a JSON value; empty if there are none."""
    if isinstance(said, str):
        return said.strip()
    if depth and isinstance(said, dict):
        found = next((text for name in _MEMBERS if (text := _sentence(said.get(name), depth - 1))), "")
        return found and found + _missing(said)
    if depth and isinstance(said, list):
        return joined(_sentence(each, depth - 1) for each in said[:MAX_LISTED])
    return ""


def _missing(problem: dict[str, Any]) -> str:
    """Return the name of the member that pydantic misses: its message says only that one is required."""
    place = problem.get("loc")
    if problem.get("type") != "missing" or not isinstance(place, list) or not place:
        return ""
    name = place[-1]
    return f": {name}" if isinstance(name, str) and name != "body" and _NAME(name) else ""


def _type(said: Any) -> str:
    if not isinstance(said, dict):
        return DEFAULT_TYPE
    own, other = said.get("error_type"), said.get("type")
    if isinstance(own, str) and _TYPE(own):
        return own
    return other if isinstance(other, str) and other in _TEI_TYPES else DEFAULT_TYPE


#: The title of a gateway's page, or the message in XML.
_TITLE = re.compile(r"<(title|message)\b[^<>]{0,200}>([^<]{0,500})", re.IGNORECASE)


def _of_page(text: str) -> str:
    found = _TITLE.search(text[:MAX_READ])
    return html.unescape(found[2]) if found else ""


#: A member of a JSON text that broke off: FastAPI echoes inputs, so that its errors can be longer than what is read. A
#: quote within a string has a backslash before it, and so is not taken for the end of a name.
_MEMBER = re.compile(r'"(?:message|detail|msg|error)"\s{0,10}:\s{0,10}("(?:[^"\\]|\\.)*")')


def _of_broken_json(text: str) -> str:
    found = (decoded(each[1].encode()) for each in _MEMBER.finditer(text[:MAX_READ]))
    return joined(each for each in found if isinstance(each, str))


def _is_legible(text: str) -> bool:
    """Whether this is text: bytes of another encoding come as U+FFFD, and those of no text at all as many of them."""
    return "\0" not in text and text.count("\ufffd") * 4 <= len(text)
