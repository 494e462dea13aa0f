"""One message names the fields that are wrong, and stays short however many they are."""

from __future__ import annotations

import pytest

from api.apis.wrong_fields import EMPTY, HALF_A_PAIR, MOST_NAMED, WrongFieldsError


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ({"a": ["is wrong"]}, "a: is wrong"),
        ({"a": {3: ["is wrong"]}, "b": ["is", "bad"]}, "a[3]: is wrong; b: is bad"),
        ({"a": {"b": {0: {"c": ["is wrong"]}}}}, "a.b[0].c: is wrong"),
    ],
)
def test_each_field_is_named_by_its_path(messages: object, told: str) -> None:
    error = WrongFieldsError.of(messages)
    assert (error.message, error.status, error.error_type) == (told, 422, "Validation")


@pytest.mark.parametrize(
    ("count", "end"), [(MOST_NAMED, "n9: x"), (MOST_NAMED + 1, "n9: x; and 1 more"), (100_000, "n9: x; and 99990 more")]
)
def test_only_so_many_fields_are_named_and_the_others_counted(count: int, end: str) -> None:
    assert WrongFieldsError([(f"n{at}", "x") for at in range(count)]).message.endswith(end)


def test_the_error_knows_whether_inputs_are_only_empty() -> None:
    assert WrongFieldsError([("inputs", EMPTY)]).all_empty
    assert WrongFieldsError([("inputs[1]", EMPTY), ("input", EMPTY)]).all_empty
    assert not WrongFieldsError([("inputs", EMPTY), ("normalize", "x")]).all_empty


def test_the_error_knows_whether_half_a_pair_is_among_what_is_wrong() -> None:
    assert WrongFieldsError([("normalize", "x"), ("inputs", HALF_A_PAIR)]).has_half_a_pair
    assert not WrongFieldsError([("inputs", EMPTY)]).has_half_a_pair
