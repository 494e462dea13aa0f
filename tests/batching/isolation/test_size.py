"""A size refusal of each form that servers were seen to write: the call is cut once, and the next ones obey."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.batching.isolation.bench import texts_of
from tests.batching.isolation.size_bench import SizeBench, bytes_of, more_than
from tests.support.fakes import KEY, FakeClock, items_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Item


#: Refusals of more than eight inputs, and one of more than so many bytes: status, body, upstream calls of 32 inputs.
NAMED = [
    (422, {"error": "batch size 32 > maximum allowed batch size 8", "error_type": "Validation"}),
    (413, {"error": "batch size 32 > maximum allowed batch size 8", "error_type": "Validation"}),
    (422, {"message": "batch size 32 > maximum allowed batch size 8", "code": 422, "type": "Validation"}),
    (400, {"error": "[request id: <id_unknown>] inference request batch-size must be <= 8 for 'minilm'"}),
    (
        422,
        {
            "detail": [
                {
                    "type": "too_long",
                    "loc": ["body", "text", "input", "list[constrained-str]"],
                    "msg": "List should have at most 8 items after validation, not 32",
                    "input": texts_of(32),
                    "ctx": {"field_type": "List", "max_length": 8, "actual_length": 32},
                },
                {"type": "string_type", "loc": ["body", "text"], "msg": "Input should be a valid string"},
            ]
        },
    ),
    (
        422,
        {
            "error": {
                "message": "litellm.BadRequestError: OpenAIException - Error code: 422 - batch size 32 > maximum "
                "allowed batch size 8\n\nLiteLLM: model group 'minilm' failed with the error above.",
                "type": "invalid_request_error",
                "param": None,
                "code": "422",
            }
        },
    ),
    (
        400,
        {
            "error": {
                "message": "Invalid 'input': array too long. Expected an array with maximum length 8, but got an array "
                "with length 32 instead.",
                "type": "invalid_request_error",
                "param": "input",
                "code": "array_above_max_length",
            }
        },
    ),
    (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "* BatchEmbedContentsRequest.requests: at most 8 requests can be in one batch\n",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
    ),
    (400, {"error": {"code": 400, "message": "8 instance(s) is allowed per prediction. Actual: 32"}}),
    (
        400,
        {
            "error": {
                "message": "<400> InternalError.Algo.InvalidParameter: Value error, batch size is invalid, it should "
                "not be larger than 8.: input.contents",
                "type": "InvalidParameter",
                "param": None,
                "code": "InvalidParameter",
            }
        },
    ),
    (400, {"message": "invalid request: total number of texts must be at most 8 - received 32"}),
    (400, {"error": {"message": "Too many inputs. The max number of inputs is 8.", "type": "invalid_request_error"}}),
]


@pytest.mark.parametrize(("status", "body"), NAMED)
def test_a_figure_that_a_refusal_names_is_obeyed_from_then_on(clock: FakeClock, status: int, body: object) -> None:
    bench = SizeBench(clock, more_than(8, status, body))
    assert bench.serve(texts_of(32)) == [32, 8, 8, 8, 8]
    assert bench.serve(texts_of(32, "more")) == [8, 8, 8, 8]
    assert bench.reasons == {"full"}
    assert bench.batcher.isolation.verdicts.look_up(KEY, items_of(*texts_of(32))) == (None, frozenset())
    assert bench.capacity.batch_size == 8


UNNAMED = [
    (
        400,
        {
            "object": "error",
            "message": "Too many inputs in request, split into more batches.",
            "type": "invalid_request_prompt",
            "param": None,
            "code": "3210",
        },
    ),
    (400, {"detail": "Too many inputs"}),
]


@pytest.mark.parametrize(("status", "body"), UNNAMED)
def test_without_a_figure_calls_are_halved_until_they_fit(clock: FakeClock, status: int, body: object) -> None:
    bench = SizeBench(clock, more_than(8, status, body))
    assert bench.serve(texts_of(32)) == [32, 16, 8, 8, 8, 8]
    assert bench.serve(texts_of(32, "more")) == [8, 8, 8, 8]
    assert bench.reasons == {"full"}


#: Refusals of more than so many tokens; three bytes of these texts are one.
OF_TOKENS = [
    (
        400,
        {
            "error": {
                "message": "Requested {had} tokens, max {most} tokens per request",
                "type": "max_tokens_per_request",
                "param": None,
                "code": "max_tokens_per_request",
            }
        },
    ),
    (400, {"object": "error", "message": "Too many tokens in batch. Max is {most} got {had}", "code": None}),
    (
        400,
        {
            "detail": "Request to model 'voyage-3' failed. The max allowed tokens per submitted batch is {most}. Your "
            "batch has {had} tokens after truncation. Please lower the number of tokens in the batch."
        },
    ),
    (
        429,
        {"error": {"message": "Request too large for m in organization o on TPM: Limit {most}, Requested {had}. The"}},
    ),
]


@pytest.mark.parametrize(("status", "body"), OF_TOKENS)
def test_tokens_that_are_named_bound_the_bytes_of_the_next_calls(clock: FakeClock, status: int, body: object) -> None:
    def refuse(items: Sequence[Item]) -> tuple[int, object] | None:
        had = bytes_of(items) // 3
        words = json.dumps(body).replace("{had}", str(had)).replace("{most}", "1000")
        return (status, words.encode()) if had > 1000 else None

    bench = SizeBench(clock, refuse)
    texts = [f"{number:098}" for number in range(64)]
    assert bench.serve(texts[:32]) == [32, 28, 4]
    assert bench.serve(texts[32:]) == [28, 4]
    assert bench.reasons == {"full", "max_wait"}
    assert bench.capacity.batch_bytes == 2851  # of 3200 bytes, which were 1066 tokens


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (413, b"Failed to buffer the request body: length limit exceeded"),
        (413, b""),
        (413, b"<html><head><title>413 Request Entity Too Large</title></head></html>"),
        (413, {"error": {"message": "litellm.APIError: APIError: OpenAIException - Error code: 413", "code": "413"}}),
        (400, {"object": "error", "message": "Too many tokens overall, split into more batches.", "code": "3210"}),
    ],
)
def test_a_body_that_is_too_large_is_halved(clock: FakeClock, status: int, body: object) -> None:
    bench = SizeBench(clock, lambda items: (status, body) if bytes_of(items) > 1700 else None)
    texts = [f"{number:098}" for number in range(64)]
    assert bench.serve(texts[:32]) == [32, 16, 16]
    assert bench.serve(texts[32:]) == [16, 16]
    assert bench.capacity.batch_bytes == 1600
