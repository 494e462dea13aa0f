"""A guess never replaces what was found, and a call that it spoils waits until the API is found out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batching.errors import UpstreamUnavailable
from upstream.dialects.dialect import RefusalKind
from upstream.dialects.plain import PlainDialect
from upstream.dialects.refusals import refusal
from upstream.dialects.tei import TeiDialect
from upstream.http_reply import Reply
from upstream.spoken import SEARCH_PAUSE, Finding, Spoken, is_of_api

GUESS = Finding(TeiDialect(), "is taken for TEI", is_guess=True)
PLAIN = Finding(PlainDialect(), "speaks a plain API")
UNUSABLE = Finding(None, "cannot be used (POST /embed): it takes one text a call", is_unusable=True, is_settled=True)
NOTHING = Finding(None, "none of the usual paths takes texts", is_settled=True)
MISSING = {"detail": [{"type": "missing", "loc": ["body", "texts"], "msg": "Field required"}]}


def spoken_after(*findings: Finding) -> Spoken:
    """Return what is spoken once the server has been asked so often, with these outcomes."""
    left = list(findings)
    spoken = Spoken(None, lambda get, post, may_call: left.pop(0), lambda dialect: None)
    for _ in findings:
        spoken.find_out(lambda path: None, lambda path, body: None, may_call=True)
    return spoken


def reply_of(status: int, said: Any) -> Reply:
    return Reply(status, {}, json.dumps(said).encode())


def waits(spoken: Spoken, status: int, said: Any) -> bool:
    """Whether a call that is answered like this waits until the API is found out."""
    reply = reply_of(status, said)
    try:
        spoken.check(reply, None if status == 200 else refusal(reply))
    except UpstreamUnavailable as error:
        return error.pause == SEARCH_PAUSE
    return False


def test_a_guess_does_not_replace_what_was_found_and_puts_it_in_doubt() -> None:
    spoken = spoken_after(PLAIN, GUESS)
    assert spoken.dialect is PLAIN.dialect
    assert spoken.is_guess
    assert not spoken.has_changed


def test_what_was_found_replaces_a_guess() -> None:
    spoken = spoken_after(GUESS, PLAIN)
    assert (spoken.name, spoken.is_guess, spoken.has_changed) == ("plain", False, True)


def test_what_is_found_again_keeps_what_it_has_learned() -> None:
    again = PLAIN._replace(dialect=PlainDialect())
    assert spoken_after(PLAIN, again).dialect is PLAIN.dialect


def test_a_guess_is_given_up_where_the_server_cannot_be_used_and_not_made_again() -> None:
    spoken = spoken_after(GUESS, UNUSABLE, GUESS)
    assert spoken.name == ""
    with pytest.raises(UpstreamUnavailable, match=r"^the upstream cannot be used \(POST /embed\): it takes one text"):
        _ = spoken.dialect


def test_the_reason_stays_while_no_guess_is_taken() -> None:
    left = [GUESS, UNUSABLE, GUESS]
    spoken = Spoken(None, lambda get, post, may_call: left.pop(0), lambda dialect: None)
    told = [spoken.find_out(lambda path: None, lambda path, body: None, may_call=True) for _ in range(3)]
    assert told[2] == Finding(None, UNUSABLE.sentence)


def test_one_that_has_been_silent_may_be_guessed_at_again() -> None:
    assert spoken_after(GUESS, UNUSABLE, Finding(None, "it does not answer"), GUESS).name == "tei"


def test_what_was_found_is_not_given_up() -> None:
    assert spoken_after(PLAIN, UNUSABLE).dialect is PLAIN.dialect


@pytest.mark.parametrize(
    ("status", "said", "is_waited_for"),
    [
        (422, MISSING, True),
        (400, {"error": "inputs is required"}, True),
        (404, {"detail": "Not Found"}, True),
        (405, {}, True),
        (200, {"embeddings": [[1, 2]]}, True),
        (200, {"nonsense": 1}, False),
        (422, {"error": "the text is too strange"}, False),
        (413, {"error": "too large"}, False),
        (401, {}, False),
        (500, {}, False),
        (503, {}, False),
    ],
)
def test_a_call_waits_whose_reply_speaks_against_a_guess(status: int, said: Any, is_waited_for: bool) -> None:
    assert waits(spoken_after(GUESS), status, said) is is_waited_for
    assert not waits(spoken_after(PLAIN), status, said)


def test_none_waits_once_small_calls_have_told_nothing() -> None:
    assert not waits(spoken_after(GUESS, NOTHING), 404, {})


def test_a_refusal_of_the_key_says_nothing_of_the_api() -> None:
    reply = reply_of(403, {})
    assert refusal(reply).kind is RefusalKind.MISCONFIGURED
    assert not is_of_api(refusal(reply), reply)
