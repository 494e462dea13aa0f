"""What people read of each route: a summary, a text, an example, and the shape of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Shape = dict[str, Any]

EMBEDDINGS, TEI, KSERVE, OLLAMA, COHERE = "OpenAI", "Text Embeddings Inference", "KServe v1", "Ollama", "Cohere"
SERVICE = "Service"

_NUMBER: Shape = {"type": "number"}
_INTEGER: Shape = {"type": "integer"}
_TEXT: Shape = {"type": "string"}
VECTOR: Shape = {"type": "array", "items": _NUMBER}


def _list_of(shape: Shape) -> Shape:
    return {"type": "array", "items": shape}


def _object(required: Mapping[str, Shape], **more: Shape) -> Shape:
    return {"type": "object", "required": [*required], "properties": {**required, **more}}


VECTORS = _list_of(VECTOR)
_LABELS = _list_of(_object({"score": _NUMBER, "label": _TEXT}))
_USAGE = _object({"prompt_tokens": _INTEGER, "total_tokens": _INTEGER})
_EMBEDDING = _object(
    {"object": {"const": "embedding"}, "index": _INTEGER, "embedding": {"anyOf": [VECTOR, {"type": "string"}]}}
)
_TOKEN = _object(
    {"id": _INTEGER, "text": _TEXT, "special": {"type": "boolean"}},
    start={"type": ["integer", "null"]},
    stop={"type": ["integer", "null"]},
)


class Operation(NamedTuple):
    """One route in the document."""

    tag: str
    summary: str
    #: The body that the page offers to try, and that the sample of curl sends.
    example: Mapping[str, Any]
    answer: Shape
    text: str = ""
    #: Whether its inputs share upstream calls with those of other requests; else it is passed on.
    is_batched: bool = True


OPERATIONS: Mapping[str, Operation] = {
    "/embed": Operation(
        TEI,
        "Embed texts or token ids",
        {"inputs": ["What is vector search?", "How are texts compared?"]},
        {
            "anyOf": [
                VECTORS,
                _object({"embedding": VECTOR}),
                _object({"embeddings": VECTORS}),
            ]
        },
        "TEI's body, or the short form with `input`: a text is answered with `embedding`, a list with `embeddings`. "
        "Members that are not known are passed on to an upstream that speaks TEI's API.",
    ),
    "/embed_all": Operation(TEI, "One vector for each token", {"inputs": "What is vector search?"}, _list_of(VECTORS)),
    "/embed_sparse": Operation(
        TEI,
        "Sparse embeddings",
        {"inputs": "What is vector search?"},
        _list_of(_list_of(_object({"index": _INTEGER, "value": _NUMBER}))),
    ),
    "/predict": Operation(
        TEI,
        "Classify texts, or pairs of texts",
        {"inputs": [["What a day!"], ["How dull."]]},
        {"anyOf": [_LABELS, _list_of(_LABELS)]},
    ),
    "/rerank": Operation(
        TEI,
        "Rank texts by how well they answer a query",
        {"query": "What is vector search?", "texts": ["It compares vectors.", "It rains."]},
        _list_of(_object({"index": _INTEGER, "score": _NUMBER}, text=_TEXT)),
        "The texts of several requests share batches.",
    ),
    "/similarity": Operation(
        TEI,
        "How similar sentences are to one",
        {"inputs": {"source_sentence": "It rains.", "sentences": ["It pours.", "I am a door."]}},
        _list_of(_NUMBER),
        "Passed on to the upstream.",
        is_batched=False,
    ),
    "/tokenize": Operation(
        TEI,
        "Tokens of texts",
        {"inputs": "What is vector search?"},
        _list_of(_list_of(_TOKEN)),
        "Passed on to the upstream, in as many calls as it takes.",
        is_batched=False,
    ),
    "/decode": Operation(
        TEI,
        "Texts of token ids",
        {"ids": [101, 2054, 102]},
        _list_of(_TEXT),
        "Passed on to the upstream.",
        is_batched=False,
    ),
    "/": Operation(
        TEI,
        "What the model is for",
        {"inputs": "What is vector search?"},
        {"type": "array"},
        "The body says by its shape which route it is meant for: `/rerank`, `/similarity`, or what the model is for.",
    ),
    "/invocations": Operation(
        TEI, "The same as /", {"inputs": "What is vector search?"}, {"type": "array"}, "SageMaker's name for it."
    ),
    **dict.fromkeys(
        (
            "/v1/embeddings",
            "/embeddings",
            "/openai/v1/embeddings",
            "/openai/deployments/<path:deployment>/embeddings",
        ),
        Operation(
            EMBEDDINGS,
            "Embed texts or token ids",
            {"model": "any", "input": ["What is vector search?", "How are texts compared?"]},
            _object({"object": {"const": "list"}, "data": _list_of(_EMBEDDING), "model": _TEXT, "usage": _USAGE}),
            "`encoding_format` base64 gives each vector as the base64 of its little-endian float32 numbers. `usage` is "
            "this request's part of the tokens that the upstream counted for the batch; where it counts none, the "
            "bytes of the texts divided by four.",
        ),
    ),
    "/v1/models/<path:model>:predict": Operation(
        KSERVE,
        "Predict, for instances of any JSON",
        {"instances": ["What is vector search?"]},
        _object({"predictions": {"type": "array"}}),
        "Each instance gets one prediction. Requests share a batch if their other members agree.",
    ),
    "/api/embed": Operation(
        OLLAMA,
        "Embed texts",
        {"model": "any", "input": ["What is vector search?"]},
        _object(
            {"model": _TEXT, "embeddings": VECTORS},
            total_duration=_INTEGER,
            load_duration=_INTEGER,
            prompt_eval_count=_INTEGER,
        ),
    ),
    "/api/embeddings": Operation(
        OLLAMA, "Embed one text", {"model": "any", "prompt": "What is vector search?"}, _object({"embedding": VECTOR})
    ),
    **dict.fromkeys(
        ("/v1/embed", "/v2/embed"),
        Operation(
            COHERE,
            "Embed texts",
            {"model": "any", "input_type": "search_query", "texts": ["What is vector search?"]},
            _object({"id": _TEXT, "embeddings": {"type": ["array", "object"]}}),
            "Of `embedding_types`, float and base64 are served.",
        ),
    ),
}

#: How each API's own library asks.
SAMPLES: Mapping[str, str] = {
    EMBEDDINGS: """\
from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:3000/v1", api_key="any")
print(client.embeddings.create(model="any", input=["a", "b"]).data)""",
    TEI: """\
from huggingface_hub import InferenceClient

print(InferenceClient(model="http://127.0.0.1:3000").feature_extraction(["a", "b"]))""",
    OLLAMA: """\
import ollama

print(ollama.Client(host="http://127.0.0.1:3000").embed(model="any", input=["a", "b"]).embeddings)""",
    COHERE: """\
import cohere

client = cohere.ClientV2(api_key="any", base_url="http://127.0.0.1:3000")
print(client.embed(model="any", texts=["a"], input_type="search_query", embedding_types=["float"]).embeddings)""",
    KSERVE: """\
import requests

url = "http://127.0.0.1:3000/v1/models/any:predict"
print(requests.post(url, json={"instances": ["a", "b"]}).json()["predictions"])""",
}
#: The routes whose text shows that.
SHOWN_WITH_LIBRARY = frozenset({"/v1/embeddings", "/", "/api/embed", "/v2/embed", "/v1/models/<path:model>:predict"})
