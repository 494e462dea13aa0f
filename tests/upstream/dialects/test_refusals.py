"""What a reply other than 200 means follows from its status, and from words that no client has chosen."""

from __future__ import annotations

import json

import pytest

from upstream.dialects.dialect import Refusal, RefusalKind, SizeLimit
from upstream.dialects.refusals import refusal
from upstream.http_reply import Reply

INPUTS, BUSY, NOT_READY = RefusalKind.INPUTS, RefusalKind.BUSY, RefusalKind.NOT_READY
SUSPICIOUS, MISCONFIGURED = RefusalKind.SUSPICIOUS, RefusalKind.MISCONFIGURED
GATEWAY, FAILED = RefusalKind.GATEWAY, RefusalKind.FAILED


def refused(status: int, body: object = b"") -> Refusal:
    return refusal(Reply(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode()))


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        (INPUTS, [400, 413, 422]),
        (BUSY, [429]),
        (NOT_READY, [503]),
        (SUSPICIOUS, [424, 500, 507, 409, 410, 418, 425, 431, 451, 499, 501, 506, 508, 520, 528, 529, 599]),
        (MISCONFIGURED, [301, 302, 303, 307, 308, 399, 401, 402, 403, 404, 405, 406, 407, 415, 421, 426]),
        (MISCONFIGURED, [505, 511]),
        (GATEWAY, [408, 502, 504, 521, 522, 523, 524, 525, 526, 527, 530]),
        (FAILED, [201, 204, 206]),
    ],
)
def test_the_status_says_what_it_means(kind: RefusalKind, statuses: list[int]) -> None:
    assert {refused(status).kind for status in statuses} == {kind}


@pytest.mark.parametrize("status", [400, 401, 404, 422, 424, 500, 502, 503])
def test_the_words_come_with_it(status: int) -> None:
    assert refused(status, {"error": "no", "error_type": "Backend"})[1:3] == ("no", "Backend")


def test_the_words_of_an_overload_are_not_read() -> None:
    assert refused(429, {"error": "Model is overloaded", "error_type": "Overloaded"}) == Refusal(BUSY)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b"<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>", MISCONFIGURED),
        (400, b"Client sent an HTTP request to an HTTPS server.\n", MISCONFIGURED),
        (
            400,
            {"error": {"message": "/embeddings: Invalid model name passed in model=x. Call `/v1/models`"}},
            MISCONFIGURED,
        ),
        (400, {"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}, MISCONFIGURED),
        (400, {"error": "Model version not ready"}, NOT_READY),
        (503, {"error": "[request id: <id_unknown>] Exceeds maximum queue size"}, BUSY),
        # Where a server quotes an input before these words, they are the client's.
        (400, {"error": "cannot embed 'Model version not ready'"}, INPUTS),
        (400, {"error": "Bad text: Client sent an HTTP request to an HTTPS server."}, INPUTS),
        (422, {"error": "Model version not ready"}, INPUTS),
    ],
)
def test_words_that_only_a_server_writes_tell_more_than_the_status(
    status: int, body: object, kind: RefusalKind
) -> None:
    assert refused(status, body).kind is kind


@pytest.mark.parametrize(
    ("status", "text", "concerns_size"),
    [
        (413, "", True),
        (413, "Input validation error: `inputs` cannot be empty", False),
        (413, "Input validation error: `inputs` must have less than 256 tokens. Given: 1002", False),
        (413, "Failed to buffer the request body: length limit exceeded", True),
        (422, "batch size 33 > maximum allowed batch size 32", True),
        (400, "[request id: <id_unknown>] inference request batch-size must be <= 32 for 'minilm'", True),
        (422, "List should have at most 2048 items after validation, not 2049", True),
        (400, "Too many inputs in one call", True),
        (422, "`inputs` must have less than 256 tokens. Given: 1002", False),
        (400, "`inputs` cannot be empty", False),
        (500, "batch size 33 > maximum allowed batch size 32", False),
    ],
)
def test_a_batch_that_is_too_large_as_a_whole_is_told_apart(status: int, text: str, concerns_size: bool) -> None:
    assert refused(status, {"error": text}).concerns_size is concerns_size


@pytest.mark.parametrize(
    ("status", "text", "size", "concerns_length"),
    [
        (422, "batch size 33 > maximum allowed batch size 32", SizeLimit(True, 32), False),
        (
            400,
            "Requested 350000 tokens, max 300000 tokens per request",
            SizeLimit(False, None, 300_000, 350_000),
            False,
        ),
        (413, "", SizeLimit(of_items=False), False),
        (422, "`inputs` must have less than 256 tokens. Given: 1002", None, True),
        (400, "This model's maximum context length is 8192 tokens, however you requested 9000 tokens", None, True),
        (400, "`inputs` cannot be empty", None, False),
        (424, "`inputs` must have less than 256 tokens. Given: 1002", None, False),
        (503, "Too many inputs", None, False),
    ],
)
def test_a_size_or_a_length_is_told_by_the_words(
    status: int, text: str, size: SizeLimit | None, concerns_length: bool
) -> None:
    refusal = refused(status, {"error": text})
    assert (refusal.size, refusal.concerns_length) == (size, concerns_length)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            "input (3002 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
            INPUTS,
        ),
        ("input is too large to process, please increase the physical batch size", INPUTS),
        ("ValueError: cannot embed 'input is too large to process, increase the physical batch size'", SUSPICIOUS),
        ("the model's maximum context length is 512 tokens", SUSPICIOUS),
    ],
)
def test_a_server_that_says_500_of_an_input_that_is_too_long_has_refused_it(text: str, kind: RefusalKind) -> None:
    refusal = refused(500, {"error": {"code": 500, "message": text, "type": "server_error"}})
    assert (refusal.kind, refusal.text, refusal.size) == (kind, text, None)
    assert refusal.concerns_length is (kind is INPUTS)


def test_an_overload_by_one_call_that_never_fits_is_a_refusal_of_its_size() -> None:
    said = "Request too large for m in organization o on tokens per min (TPM): Limit 1000, Requested 1200. Visit x."
    refusal = refused(429, {"error": {"message": said, "type": "tokens", "code": "rate_limit_exceeded"}})
    assert (refusal.kind, refusal.concerns_size, refusal.size) == (INPUTS, True, SizeLimit(False, None, 1000, 1200))
    other = "Request too large for m, says a client"
    assert refused(429, {"error": other}).kind is BUSY
