"""Reads out of pydantic's errors which member of a call's body is missing, or should be one text. Pure.

FastAPI answers them with status 422: ``{"detail": [{"loc": ["body", "texts"], "type": "missing", …}]}``.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from upstream.dialects.relaying import plain

#: Errors of one answer that are looked at, and characters of a member's name.
MAX_ERRORS, MAX_NAME = 20, 100


class Wrong(Enum):
    """What a server finds wrong with a member."""

    MISSING = "missing"
    #: It is missing in the query of the URL.
    MISSING_IN_URL = "missing in the URL"
    #: It is a list, and should be one text.
    ONE_TEXT = "one text"


class WrongMember(NamedTuple):
    """One member with what is wrong with it."""

    name: str
    wrong: Wrong


#: By the error's type, in pydantic 2 and 1.
_KINDS = {
    **dict.fromkeys(("missing", "value_error.missing"), Wrong.MISSING),
    **dict.fromkeys(("string_type", "type_error.str"), Wrong.ONE_TEXT),
}


def wrong_members(said: object) -> list[WrongMember]:
    """Return the members at the top of a body that the error names. ``said``: its JSON.

    Places deeper within are left out: those are the single texts, and each choice of a member that may be either.
    """
    errors = said.get("detail") if isinstance(said, dict) else None
    found = [_read(each) for each in errors[:MAX_ERRORS]] if isinstance(errors, list) else []
    return [each for each in found if each is not None]


def _read(error: Any) -> WrongMember | None:
    place = error.get("loc") if isinstance(error, dict) else None
    kind = _KINDS.get(str(error.get("type"))) if isinstance(error, dict) else None
    if kind is None or not isinstance(place, list) or len(place) != 2 or not isinstance(place[1], str):
        return None
    name = plain(place[1], MAX_NAME)
    if place[0] == "body":
        return WrongMember(name, kind)
    return WrongMember(name, Wrong.MISSING_IN_URL) if (place[0], kind) == ("query", Wrong.MISSING) else None
