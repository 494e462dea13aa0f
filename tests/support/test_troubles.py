"""The troubles of each form are answered as its server was recorded, and the proxy makes sense of each."""

from __future__ import annotations

import pytest

from tests.support.upstream import forms
from tests.support.upstream.forms import Form, Trouble
from upstream.dialects.dialect import RefusalKind
from upstream.dialects.tei import TeiDialect
from upstream.http_reply import Reply

INPUTS, SUSPICIOUS, MISCONFIGURED = RefusalKind.INPUTS, RefusalKind.SUSPICIOUS, RefusalKind.MISCONFIGURED
BUSY, NOT_READY = RefusalKind.BUSY, RefusalKind.NOT_READY

#: For each form and trouble: the status, what the proxy takes it for, and the words that it reads.
TROUBLES: dict[type[Form], dict[Trouble, tuple[int, RefusalKind, str]]] = {
    forms.TeiForm: {
        Trouble.BAD_INPUT: (424, SUSPICIOUS, "Backend error: Model is not a classifier model"),
        Trouble.REFUSED_INPUT: (400, INPUTS, "Input validation error: `inputs` cannot be empty"),
        Trouble.TOO_MANY: (422, INPUTS, "batch size 33 > maximum allowed batch size 32"),
        Trouble.TOO_LARGE: (413, INPUTS, "Failed to buffer the request body: length limit exceeded"),
        Trouble.MALFORMED: (400, INPUTS, "Failed to parse the request body as JSON: EOF while parsing an object"),
        Trouble.OVERLOADED: (429, BUSY, ""),
        Trouble.WRONG_KEY: (401, MISCONFIGURED, ""),
        Trouble.UNKNOWN_PATH: (404, MISCONFIGURED, ""),
        Trouble.WRONG_METHOD: (405, MISCONFIGURED, ""),
    },
    forms.TeiOpenAiForm: {
        Trouble.REFUSED_INPUT: (400, INPUTS, "Input validation error: `inputs` cannot be empty"),
        Trouble.TOO_MANY: (422, INPUTS, "batch size 33 > maximum allowed batch size 32"),
    },
    forms.PlainForm: {
        Trouble.BAD_INPUT: (500, SUSPICIOUS, "Internal Server Error"),
        Trouble.REFUSED_INPUT: (422, INPUTS, "Input should be a valid string"),
        Trouble.MALFORMED: (422, INPUTS, "JSON decode error"),
        Trouble.UNKNOWN_PATH: (404, MISCONFIGURED, "Not Found"),
        Trouble.WRONG_METHOD: (405, MISCONFIGURED, "Method Not Allowed"),
    },
    forms.InfinityForm: {
        Trouble.BAD_INPUT: (500, SUSPICIOUS, "Internal Server Error"),
        Trouble.REFUSED_INPUT: (422, INPUTS, "Input should be a valid string"),
        Trouble.TOO_MANY: (422, INPUTS, "List should have at most 2048 items after validation, not 2049"),
        Trouble.MALFORMED: (422, INPUTS, "JSON decode error"),
        Trouble.OVERLOADED: (429, BUSY, ""),
    },
    forms.VllmForm: {
        Trouble.REFUSED_INPUT: (
            400,
            INPUTS,
            (
                "This model's maximum context length is 256 tokens. However, your prompt contains 15000 "
                "characters (more than 4608 characters, which is the upper bound for 256 input tokens). Please "
                "reduce the length of the input prompt. (parameter=input_text, value=15000)"
            ),
        ),
        Trouble.MALFORMED: (400, INPUTS, "JSON decode error"),
        Trouble.UNKNOWN_MODEL: (404, MISCONFIGURED, "The model `no-such-model` does not exist."),
    },
    forms.LlamaForm: {
        Trouble.BAD_INPUT: (
            500,
            INPUTS,
            ("input (3002 tokens) is too large to process. increase the physical batch size (current batch size: 512)"),
        ),
        Trouble.REFUSED_INPUT: (400, INPUTS, '"input" must not be empty'),
        Trouble.MALFORMED: (
            400,
            INPUTS,
            (
                "[json.exception.parse_error.101] parse error: syntax error while parsing object - unexpected "
                "end of input; expected '}'"
            ),
        ),
        Trouble.UNKNOWN_PATH: (404, MISCONFIGURED, "File Not Found"),
    },
    forms.LitellmForm: {
        Trouble.BAD_INPUT: (500, SUSPICIOUS, "Internal Server Error"),
        Trouble.REFUSED_INPUT: (
            400,
            INPUTS,
            (
                "litellm.BadRequestError: OpenAIException - Error code: 400 - Input validation error: `inputs` "
                "cannot be empty LiteLLM: model group 'minilm' failed with the error above. No fallback was "
                "attempted."
            ),
        ),
        Trouble.UNKNOWN_MODEL: (
            400,
            MISCONFIGURED,
            (
                "/embeddings: Invalid model name passed in model=no-such-model. Call `/v1/models` to view "
                "available models for your key."
            ),
        ),
    },
    forms.KserveForm: {
        Trouble.BAD_INPUT: (500, SUSPICIOUS, "ValueError : cannot embed 'poison'"),
        Trouble.REFUSED_INPUT: (400, INPUTS, 'Expected "instances" to be a list'),
        Trouble.MALFORMED: (400, INPUTS, "Unrecognized request format: unexpected end of data"),
        Trouble.UNKNOWN_MODEL: (404, MISCONFIGURED, "Model with name nope does not exist."),
    },
    forms.MlserverForm: {
        Trouble.BAD_INPUT: (500, SUSPICIOUS, "ValueError: cannot embed 'poison'"),
        Trouble.REFUSED_INPUT: (422, INPUTS, "Input should be a valid string"),
        Trouble.MALFORMED: (422, INPUTS, "JSON decode error"),
        Trouble.UNKNOWN_MODEL: (404, MISCONFIGURED, "Model nope not found"),
    },
    forms.TritonForm: {
        Trouble.BAD_INPUT: (
            500,
            SUSPICIOUS,
            (
                "Failed to process the request(s) for model 'minilm_0_0', message: TritonModelException: Model "
                "execute error: ValueError: cannot embed 'poison'"
            ),
        ),
        Trouble.REFUSED_INPUT: (400, INPUTS, "unexpected inference input 'nope' for model 'minilm'"),
        Trouble.TOO_MANY: (400, INPUTS, "inference request batch-size must be <= 32 for 'minilm'"),
        Trouble.MALFORMED: (
            500,
            SUSPICIOUS,
            ("failed to parse the request JSON buffer: Missing a comma or '}' after an object member."),
        ),
        Trouble.OVERLOADED: (503, BUSY, "Exceeds maximum queue size"),
        Trouble.NOT_READY: (400, NOT_READY, "Model version not ready"),
        Trouble.UNKNOWN_PATH: (404, MISCONFIGURED, "Not Found"),
    },
}
EACH = [(form, trouble, *said) for form, troubles in TROUBLES.items() for trouble, said in troubles.items()]


@pytest.mark.parametrize(
    ("form", "trouble", "status", "kind", "text"),
    EACH,
    ids=[f"{form.__name__}: {trouble.value}" for form, trouble, *_ in EACH],
)
def test_the_proxy_makes_sense_of_each_trouble(
    form: type[Form], trouble: Trouble, status: int, kind: RefusalKind, text: str
) -> None:
    said = form().trouble(trouble)
    assert said is not None
    refusal = TeiDialect().refusal(Reply(said.status, {}, said.body))
    assert (said.status, refusal.kind, refusal.text) == (status, kind, text)
    assert refusal.concerns_size is (trouble in {Trouble.TOO_MANY, Trouble.TOO_LARGE})


@pytest.mark.parametrize("form", forms.ALL, ids=lambda form: type(form).__name__)
def test_what_a_server_says_of_an_input_is_read_in_its_form(form: Form) -> None:
    text = "must have less than 512 tokens"
    assert text in TeiDialect().refusal(Reply(422, {}, form.refusal(text))).text
    failure = form.failure(text)
    repeats_it = TeiDialect().refusal(Reply(failure.status, {}, failure.body)).text.endswith(text)
    assert repeats_it or failure.body == b"Internal Server Error"


def test_servers_close_what_is_idle_and_after_errors_as_they_were_seen_to() -> None:
    idle = {type(form).__name__: form.idle for form in forms.ALL}
    assert {name for name, seconds in idle.items() if seconds is None} == {
        *("TeiForm", "TeiOpenAiForm", "KserveForm", "TritonForm")
    }
    assert set(idle.values()) == {None, 5.0}
    closing = {type(form).__name__ for form in forms.ALL if form.failure("x").closes}
    assert closing == set(idle) - {"TeiForm", "TeiOpenAiForm", "TritonForm"}
