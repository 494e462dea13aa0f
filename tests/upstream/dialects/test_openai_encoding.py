"""Which encoding a model is asked for after what it has answered."""

from __future__ import annotations

import pytest

from upstream.dialects.openai_encoding import MAX_REMEMBERED, Encoding, Encodings

BASE64, FLOAT, UNSAID = Encoding.BASE64, Encoding.FLOAT, Encoding.UNSAID


@pytest.mark.parametrize("first", [BASE64, FLOAT])
def test_a_model_of_which_nothing_is_known_is_asked_for_the_first(first: Encoding) -> None:
    assert Encodings(first).of("m") is first


def test_a_refusal_of_each_encoding_leads_to_the_next_until_none_is_named() -> None:
    encodings = Encodings(BASE64)
    assert encodings.refused("m", BASE64, is_told=True)
    assert encodings.of("m") is FLOAT
    assert encodings.refused("m", FLOAT, is_told=True)
    assert encodings.of("m") is UNSAID
    assert not encodings.refused("m", UNSAID, is_told=True)
    assert encodings.of("other") is BASE64


def test_numbers_that_are_given_on_trial_end_it() -> None:
    encodings = Encodings(BASE64)
    assert encodings.refused("m", BASE64, is_told=False)
    encodings.answered("m", as_base64=False)
    assert not encodings.refused("m", FLOAT, is_told=False)
    assert encodings.of("m") is FLOAT


def test_a_trial_that_gives_no_numbers_either_is_the_last_one() -> None:
    encodings = Encodings(BASE64)
    assert encodings.refused("m", BASE64, is_told=False)
    assert not encodings.refused("m", FLOAT, is_told=False)
    assert encodings.of("m") is BASE64
    assert not encodings.refused("m", BASE64, is_told=False)


def test_a_model_that_was_found_not_to_know_base64_is_not_tried_with_it_again() -> None:
    encodings = Encodings(BASE64)
    assert encodings.refused("m", BASE64, is_told=True)
    assert not encodings.refused("m", FLOAT, is_told=False)
    assert encodings.of("m") is FLOAT


@pytest.mark.parametrize("is_told", [True, False])
def test_a_model_that_has_answered_base64_can_do_it(is_told: bool) -> None:
    encodings = Encodings(BASE64)
    encodings.answered("m", as_base64=True)
    assert not encodings.refused("m", BASE64, is_told=is_told)
    assert encodings.of("m") is BASE64


@pytest.mark.parametrize("is_told", [True, False])
def test_a_refusal_that_comes_late_is_worth_asking_again_and_teaches_nothing(is_told: bool) -> None:
    encodings = Encodings(BASE64)
    assert encodings.refused("m", BASE64, is_told=True)
    assert encodings.refused("m", BASE64, is_told=is_told)
    assert encodings.of("m") is FLOAT


def test_what_is_forgotten_is_learned_anew() -> None:
    encodings = Encodings(BASE64)
    encodings.refused("m", BASE64, is_told=True)
    encodings.answered("n", as_base64=True)
    encodings.forget()
    assert encodings.of("m") is BASE64
    assert encodings.refused("n", BASE64, is_told=True)


def test_as_many_models_as_there_may_be_are_remembered() -> None:
    encodings = Encodings(BASE64)
    for number in range(2 * MAX_REMEMBERED):
        encodings.refused(str(number), BASE64, is_told=True)
    assert encodings.of("0") is BASE64
    assert encodings.of(str(2 * MAX_REMEMBERED - 1)) is FLOAT
