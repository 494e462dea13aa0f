"""A call that was too large is told from an input that is too long, by the words of many servers and their kin."""

from __future__ import annotations

import json

import pytest

from tests.support.fakes import items_of
from upstream.dialects.dialect import SizeLimit
from upstream.dialects.sizes import concerns_length, is_echo, size_of

#: What servers say of too many inputs, and the most that they name.
OF_ITEMS = [
    # Servers of one's own
    ("maximum allowed batch size 8", 8),
    ("Batch size (32) is larger than the model's max batch size (8)", 8),
    ("invalid batch size 40: must be <= 8", 8),
    ("Exceeded max batch size (8)", 8),
    ("'input' array must have between 1 and 8 items", 8),
    ("Maximum number of inputs exceeded", None),
    ("Batch limit exceeded: 40/8", 8),
    ("Batch limit exceeded", None),
    ("Request exceeds the 8 document limit", 8),
    ("len(inputs)=40 exceeds MAX_BATCH=8", 8),
    # Text Embeddings Inference, SiliconFlow, and LiteLLM in front of the first.
    ("batch size 33 > maximum allowed batch size 32", 32),
    ("input batch size 136 > maximum allowed batch size 64", 64),
    (
        (
            "litellm.BadRequestError: OpenAIException - Error code: 422 - batch size 33 > maximum allowed batch size 32"
            " LiteLLM: model group 'minilm' failed with the error above. No fallback was attempted."
        ),
        32,
    ),
    # Triton
    ("inference request batch-size must be <= 32 for 'minilm'", 32),
    # Infinity and other servers with pydantic, of either version
    ("List should have at most 2048 items after validation, not 2049; Input should be a valid string", 2048),
    ("Input should be a valid string; List should have at most 32 items after validation, not 33", 32),
    ("ensure this value has at most 32 items", 32),
    # Mistral
    ("Too many inputs in request, split into more batches.", None),
    # OpenAI and Azure
    (
        (
            "Invalid 'input': array too long. Expected an array with maximum length 2048, but got an array with length "
            "2049 instead."
        ),
        2048,
    ),
    ("'$.input' is invalid: array too long. Expected an array with maximum length 2048, but got 3000.", 2048),
    ("Too many inputs. The max number of inputs is 16. We hope to increase the number of inputs per request.", 16),
    ("Too many inputs for model None. The max number of inputs is 1.", 1),
    # Google
    ("* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch", 100),
    ("250 instance(s) is allowed per prediction. Actual: 512", 250),
    (
        (
            "Unable to submit request because it included too many instances. The request has a batchSize value of 1234"
            " but the supported range is from 1 (inclusive) to 251 (exclusive)."
        ),
        250,
    ),
    # DashScope, Cohere, Bedrock, Voyage, Jina, Zhipu
    (
        "<400> InternalError.Algo.InvalidParameter: Value error, batch size is invalid, it should not be larger than 9",
        9,
    ),
    ("invalid request: total number of texts must be at most 96 - received 131", 96),
    ("invalid request: the number of texts must be less than or equal to 96", 96),
    ("texts must be less than or equal to 96", 96),
    ("Malformed input request: #/texts: expected maximum item count: 96, found: 97, please reformat your input", 96),
    ("Request to model 'voyage-3' failed. The batch size limit is 1000. Your batch size is 1001.", 1000),
    ("Validation error: 'body -> jina-embeddings-v4' Each input list can contain at most 512 items..", 512),
    ("input length is larger than the largest allowed size 2048", 2048),
    ("input数组最大不得超过64条", 64),
    # Validators of other languages
    ("Array must contain at most 100 element(s)", 100),
    ("Too big: expected array to have <=100 items", 100),
    ("must NOT have more than 96 items", 96),
    ("Key: 'EmbedRequest.Inputs' Error:Field validation for 'Inputs' failed on the 'max' tag", None),
    # Servers that people write
    ("Too many inputs in one call", None),
    ("too many texts: 33 > 32", 32),
    ("too many instances: 300 (maximum 250)", 250),
    ("Maximum batch size is 32", 32),
    ("max batch size exceeded: 33 > 32", 32),
    ("Batch size (33) exceeds maximum (32)", 32),
    ("Batch of 64 exceeds max_batch_size of 32", 32),
    ("batch too large: 33 inputs, limit 32", 32),
    ("number of inputs (33) exceeds the maximum of 32", 32),
    ("Maximum number of items is 8", 8),
    ("Cannot process more than 64 inputs at once", 64),
    ("A maximum of 1,000 inputs per request is supported", 1000),
    ("Only 10 inputs are allowed per request", 10),
    ("Request contains 120 inputs, maximum is 96", 96),
    ("inputs length 33 exceeds 32", 32),
    ("len(inputs) must be <= 32", 32),
]
#: What servers say of too many tokens or bytes, with the most that they name, and how many there were.
OF_TOKENS = [
    ("Requested 416735 tokens, max 300000 tokens per request", 300_000, 416_735),
    (
        (
            "Error code: 400 - {'error': {'message': 'Requested 416735 tokens, max 300000 tokens per request', 'type': "
            "'max_tokens_per_request', 'param': None, 'code': 'max_tokens_per_request'}}"
        ),
        300_000,
        416_735,
    ),
    ("Too many tokens in batch. Max is 16384 got 17555", 16_384, 17_555),
    ("Too many tokens overall, split into more batches.", None, None),
    (
        (
            "Request to model 'voyage-3-large' failed. The max allowed tokens per submitted batch is 120000. Your batch"
            " has 124302 tokens after truncation. Please lower the number of tokens in the batch."
        ),
        120_000,
        124_302,
    ),
    ("Unable to submit request because the input token count is 24000 but model supports up to 20000.", 20_000, 24_000),
    (
        (
            "Request too large for text-embedding-3-large in organization org-abc on tokens per min (TPM): Limit "
            "150000, Requested 200000. The input or output tokens must be reduced in order to run successfully."
        ),
        150_000,
        200_000,
    ),
    ("Request body too large for text-embedding-3-small - Max size: 64000 tokens", 64_000, None),
    ("The total number of tokens (350000) exceeds the maximum of 300000", 300_000, 350_000),
    ("too many tokens in request: 9000 (limit 8192)", 8192, 9000),
    ("Total number of tokens in batch (32000) exceeds maximum (8000)", 8000, 32_000),
    ("Your request exceeds 300,000 tokens", 300_000, None),
    # Bodies: a figure of bytes counts as a quarter of it in tokens.
    ("Request payload size exceeds the limit: 4194304 bytes.", 1_048_576, None),
    ("Failed to buffer the request body: length limit exceeded", None, None),
    ("413 Request Entity Too Large", None, None),
    ("Payload Too Large", None, None),
]
#: What servers say of one input that is too long by itself.
OF_LENGTH = [
    "Input validation error: `inputs` must have less than 256 tokens. Given: 1002",
    "`inputs` must have less than 64000 characters. Given: 100000",
    (
        "This model's maximum context length is 8192 tokens, however you requested 9000 tokens (9000 in your prompt; 0 "
        "for the completion). Please reduce your prompt; or completion length."
    ),
    (
        "This model's maximum context length is 256 tokens. However, your prompt contains 15000 characters (more than "
        "4608 characters, which is the upper bound for 256 input tokens). (parameter=input_text, value=15000)"
    ),
    (
        "This model's maximum context length is 512 tokens. However, you requested 1451 tokens in the input for "
        "embedding generation. Please reduce the length of the input."
    ),
    "input (3002 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
    "input is too large to process, please increase the physical batch size",
    "the input length exceeds the context length",
    "Input length 548 exceeds maximum allowed token size 512",
    "Range of input length should be [1, 8192]",
    "Invalid 'input': maximum input length is 8192 tokens.",
    "Malformed input request: #/texts: expected maxLength: 2048, actual: 19882, please reformat your input",
    "String should have at most 8192 characters",
    "Illegal param: prefill 744 tokens exceed n_ctx_per_seq, try increasing total context size",
    "The example in your batch has too many tokens and does not fit into the model's context window of 32000 tokens.",
    "text too long",
    "the text at hand, a document, is too long",
    "The text has 600 tokens which exceeds the limit of 512",
    "Input text exceeds maximum length of 8194 tokens",
    "Input is too long for requested model.",
]
#: What is about neither.
OTHERS = [
    "",
    "`inputs` cannot be empty",
    "Input should be a valid string",
    "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
    "Input validation error: `dimensions` should be smaller than the maximum embedding dimension.",
    "Input should be less than or equal to 1024",
    "ensure this value is less than or equal to 100",
    "List should have at least 1 item after validation, not 0",
    "dimensions must be at most 384",
    "unexpected inference input 'nope' for model 'minilm'",
    "invalid token id 99999999, vocabulary has 30522 entries",
]


@pytest.mark.parametrize(("words", "most"), OF_ITEMS)
def test_too_many_inputs_with_the_most_that_is_named(words: str, most: int | None) -> None:
    assert size_of(400, words) == SizeLimit(of_items=True, most_items=most)


@pytest.mark.parametrize(("words", "most", "had"), OF_TOKENS)
def test_too_many_tokens_or_bytes_with_the_figures_that_are_named(
    words: str, most: int | None, had: int | None
) -> None:
    assert size_of(400, words) == SizeLimit(of_items=False, most_tokens=most, had_tokens=had)


@pytest.mark.parametrize("words", OF_LENGTH)
def test_an_input_that_is_too_long_by_itself_makes_no_call_too_large(words: str) -> None:
    assert concerns_length(words)
    assert size_of(400, words) is None
    assert size_of(413, words) is None


@pytest.mark.parametrize("words", OTHERS)
def test_what_is_about_neither(words: str) -> None:
    assert size_of(422, words) is None
    assert not concerns_length(words)


@pytest.mark.parametrize("words", ["", "no", "litellm.APIError: APIError: OpenAIException - Error code: 413"])
def test_a_status_of_413_speaks_of_the_bytes_by_itself(words: str) -> None:
    assert size_of(413, words) == SizeLimit(of_items=False)


def test_old_versions_of_tei_say_413_of_any_input_that_is_wrong() -> None:
    assert size_of(413, "Input validation error: `inputs` cannot be empty") is None
    assert size_of(413, "batch size 33 > maximum allowed batch size 32") == SizeLimit(True, 32)


def test_words_that_stand_in_an_input_are_told_by_it() -> None:
    forged = "batch size 33 > maximum allowed batch size 1"
    words = f"cannot embed '{forged} and more'"
    for text in (forged, f"see: {forged} and more", f"{forged}\n" + 10_000 * "x"):
        assert is_echo(words, items_of("fine", text))
    assert is_echo(words, [json.dumps(["query", forged]).encode()])
    assert is_echo(words, [forged.encode("ascii").join([b'"\\u0020', b'"'])])


@pytest.mark.parametrize(
    "echo",
    [
        "cannot embed evil: batch size 9 > maximum allowed batch size 1",
        "CANNOT EMBED EVIL: BATCH SIZE 9 > MAXIMUM ALLOWED BATCH SIZE 1",
        "evil batch-size 9 > maximum allowed batch size 1",
    ],
)
def test_words_of_an_input_that_a_server_repeats_in_another_case_or_without_accents_are_told_by_it(echo: str) -> None:
    assert size_of(400, echo) is not None
    assert is_echo(echo, items_of("EVIL: Bàtch Size 9 > Maximum Allowed Batch Size 1"))


@pytest.mark.parametrize("items", [[], items_of("fine"), [b"[101,102]"], [b"{}"], [b'"'], [b"[" * 100_000]])
def test_a_servers_own_words_stand_in_no_input(items: list[bytes]) -> None:
    for words in ("batch size 33 > maximum allowed batch size 1", "Payload Too Large", OF_LENGTH[0], ""):
        assert not is_echo(words, items)


def test_the_words_of_a_length_may_be_an_echo_too() -> None:
    assert is_echo("cannot embed: text too long", items_of("text too long"))
