"""Which member a server finds wrong, by pydantic's errors of both versions."""

from __future__ import annotations

from typing import Any

import pytest

from upstream.dialects.wrong_members import MAX_ERRORS, MAX_NAME, Wrong, WrongMember, wrong_members


def said(*errors: Any) -> dict[str, Any]:
    return {"detail": list(errors)}


def error(kind: str, *place: Any) -> dict[str, Any]:
    return {"type": kind, "loc": list(place), "msg": "wrong", "input": {"texts": ["a secret"]}}


@pytest.mark.parametrize(
    ("kind", "place", "wrong"),
    [
        ("missing", ("body", "texts"), Wrong.MISSING),
        ("value_error.missing", ("body", "texts"), Wrong.MISSING),
        ("missing", ("query", "texts"), Wrong.MISSING_IN_URL),
        ("string_type", ("body", "texts"), Wrong.ONE_TEXT),
        ("type_error.str", ("body", "texts"), Wrong.ONE_TEXT),
    ],
)
def test_a_member_is_named_with_what_is_wrong(kind: str, place: tuple[str, ...], wrong: Wrong) -> None:
    assert wrong_members(said(error("other", "body", "x"), error(kind, *place))) == [WrongMember("texts", wrong)]


@pytest.mark.parametrize(
    "problem",
    [
        error("string_type", "body", "texts", 3),
        error("string_type", "body", "texts", "str"),
        error("missing", "body"),
        error("missing", "body", 0),
        error("missing", "path", "model"),
        error("string_type", "query", "texts"),
        error("json_invalid", "body", 14),
        {"type": "missing", "loc": "body.texts"},
        {"type": ["missing"], "loc": ["body", "texts"]},
        "texts is missing",
        None,
    ],
)
def test_other_errors_name_no_member(problem: Any) -> None:
    assert wrong_members(said(problem)) == []


@pytest.mark.parametrize("body", [None, [], "x", {}, {"detail": "Not Found"}, {"error": []}])
def test_other_bodies_name_no_member(body: Any) -> None:
    assert wrong_members(body) == []


def test_names_and_errors_are_bounded() -> None:
    found = wrong_members(said(*[error("missing", "body", "a\n" + "b" * 1000)] * 100))
    assert len(found) == MAX_ERRORS
    assert len(found[0].name) == MAX_NAME
    assert found[0].name.isprintable()
