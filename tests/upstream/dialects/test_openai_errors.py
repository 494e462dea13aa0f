"""What errors of OpenAI's form are about."""

from __future__ import annotations

import pytest

from tests.support.upstream import Trouble, forms
from tests.support.upstream.forms import hosted
from upstream.dialects.openai_errors import concerns_encoding, concerns_model, said_in


def trouble(form: forms.Form, kind: Trouble) -> bytes:
    reply = form.trouble(kind)
    assert reply is not None
    return reply.body


@pytest.mark.parametrize(
    "body",
    [
        # vLLM of 2024, LiteLLM in front of Gemini, vLLM and FastAPI with another enumeration, OpenAI.
        b'{"object":"error","message":"base64 encoding is not currently supported","code":400}',
        b'{"error":{"message":"gemini does not support parameters: {\'encoding_format\': \'base64\'}"}}',
        b"{\"error\":{\"message\":\"1 validation error:\\n  {'loc': 'body.encoding_format', 'msg': 'Input'}\"}}",
        b'{"detail":[{"type":"literal_error","loc":["body","encoding_format"],"msg":"Input should be \'float\'"}]}',
        b'{"error":{"message":"Unsupported value","param":"encoding_format","code":400}}',
        b"Unknown member encoding_format",
    ],
)
def test_an_error_about_the_encoding_is_known(body: bytes) -> None:
    assert concerns_encoding(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[7]",
        b'{"error":{"message":"the input is too long"}}',
        b'{"detail":[{"loc":["body","input"],"msg":"too long","input":"encoding_format base64"}]}',
        b'{"error":{"message":"bad dimension"},"input":"encoding_format"}',
        b'{"error":{"message":"not mybase64ed"}}',
    ],
)
def test_an_error_about_something_else_is_not_the_encodings(body: bytes) -> None:
    assert not concerns_encoding(body)


@pytest.mark.parametrize(
    "body",
    [
        *(
            trouble(form, Trouble.UNKNOWN_MODEL)
            for form in (
                *(forms.VllmForm(), forms.LitellmForm(), hosted.HostedForm(), hosted.OllamaForm()),
                *(hosted.MistralForm(), hosted.VoyageForm()),
            )
        ),
        b'{"error":{"message":"you must provide a model parameter"}}',
        b'{"error":{"message":"Project `p` does not have access to model `m`","code":"model_not_found"}}',
        b'{"message":"Unable to access model x. Please visit the documentation"}',
    ],
)
def test_an_error_about_the_model_is_known(body: bytes) -> None:
    assert concerns_model(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"detail":"Not Found"}',
        b"404 page not found",
        b'{"error":{"message":"File Not Found","type":"not_found_error","code":404}}',
        b'{"error":{"code":"404","message":"Resource not found"}}',
        b'{"error":{"code":["x"],"type":{}}}',
        b'{"error":{"message":"Model \'minilm\' does not support Matryoshka embeddings; dimensions must be unset"}}',
        trouble(forms.VllmForm(), Trouble.REFUSED_INPUT),
        trouble(hosted.HostedForm(), Trouble.REFUSED_INPUT),
        trouble(forms.LitellmForm(), Trouble.REFUSED_INPUT),
    ],
)
def test_an_error_about_something_else_is_not_the_models(body: bytes) -> None:
    assert not concerns_model(body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":{"message":"no\\nmore"}}', "no more"),
        (b'{"base_resp":{"status_code":1002,"status_msg":"rate limit"}}', "rate limit"),
        (b'{"base_resp":{"status_msg":7}}', ""),
        (b'{"base_resp":null,"data":[]}', ""),
        (b'{"object":"list","data":[]}', ""),
        (b"[]", ""),
    ],
)
def test_the_words_of_an_error_with_200_are_one_line(body: bytes, words: str) -> None:
    assert said_in(body) == words
