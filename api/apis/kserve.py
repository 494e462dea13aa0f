"""KServe's protocol, version 1: ``{"instances": […]}`` in, ``{"predictions": […]}`` out, whatever JSON is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from marshmallow import INCLUDE, Schema, ValidationError, fields

from api.apis.fields import ModelName, further
from api.apis.query import Body, Bounds, Finished, Query, Route
from api.apis.texts import check_count, vectors
from api.apis.wrong_fields import HALF_A_PAIR
from api.error_forms import RequestError, plain_text, quoted
from batching.key import BatchKey, Options, Task

if TYPE_CHECKING:
    from batching.call import Call, Item
    from batching.errors import ProxyError

_SERVED = (
    "Served are POST /v1/models/NAME:predict, GET /v1/models/NAME and GET /v1/models, which are version 1 of KServe's "
    "protocol; for embeddings also POST /v1/embeddings, POST /embed, POST /api/embed and POST /v2/embed"
)

#: What stands behind a model's name in a path that asks it for something, by POST.
VERBS = (":predict", ":explain")
#: Where the paths of version 2 begin; other paths below ``/v2/`` may be Cohere's.
_VERSION_2 = ("/v2/models", "/v2/health", "/v2/repository")

_model = ModelName()
_to_json = msgspec.json.Encoder().encode


class KservePredictSchema(Schema):
    """``POST /v1/models/NAME:predict``. Other members are the model's business: they join the batch key."""

    class Meta:
        unknown = INCLUDE

    instances = fields.List(
        fields.Raw(), required=True, metadata={"description": "Inputs of any JSON. Each gets one prediction."}
    )


class KServeApi:
    """KServe's form of an error, with 400 for what is wrong with a body."""

    prefixes: tuple[str, ...] = ("/v2",)
    suffixes: tuple[str, ...] = VERBS

    def status(self, error: ProxyError) -> int:
        return 400 if error.status == 422 else error.status

    def error(self, error: ProxyError, identity: str) -> bytes:  # noqa: ARG002
        return _to_json({"error": plain_text(error.message)})


def read_predict(body: Body, bounds: Bounds, model: str) -> Query | Finished:
    """Read the body of ``:predict``; raises ``RequestError``. ``model``: the name in the path."""
    instances = body.get("instances")
    if not isinstance(instances, list):
        raise RequestError(400, 'Expected "instances" to be a list')
    check_count(instances, bounds.items)
    try:
        _model.deserialize(model)
    except ValidationError as problem:
        raise RequestError(404, f"Model with name {quoted(model)} does not exist.") from problem
    more = further({name: value for name, value in body.items() if name != "instances"}) if len(body) > 1 else ()
    if not instances:
        return Finished(b'{"predictions":[]}')
    options = Options(more=more, family="kserve") if more else Options()
    return Query(BatchKey(Task.PREDICT, options, model), _items(instances), _predictions)


def not_found(path: str) -> str | None:
    """Return what is said of a path of KServe's that is not served, and what is; None if it is none of KServe's."""
    shown = plain_text(path)
    if path == "/v2" or path.startswith(_VERSION_2):
        return f"{shown} is not served: version 2 of KServe's protocol is unknown here. {_SERVED}"
    if path.endswith(":explain"):
        return f"{shown} is not served: explanations are unknown here. {_SERVED}"
    return f"{shown} is not served. {_SERVED}" if path.startswith("/v2/") else None


def no_model(path: str) -> str:
    """Return what is said of a GET of a path that has one of ``VERBS`` behind a model's name."""
    return not_found(path) or f"{plain_text(path)} is not served by GET. {_SERVED}"


def _items(instances: list[Any]) -> list[Item]:
    items: list[Item] = []
    try:
        for instance in instances:
            items.append(_to_json(instance))  # noqa: PERF401 - the error names the first that is wrong
    except UnicodeEncodeError as problem:
        raise RequestError(400, f"instances[{len(items)}]: {HALF_A_PAIR}") from problem
    except RecursionError as problem:
        raise RequestError(400, f"instances[{len(items)}]: the JSON is nested too deeply") from problem
    return items


def _predictions(call: Call) -> bytes:
    # Over an upstream that embeds, the results are vectors; else they are the model's own JSON, and pass untouched.
    results = vectors(call) if call.key.task is Task.EMBED else b",".join(call.results)
    return b'{"predictions":[' + results + b"]}"


ROUTES = (
    Route(
        "/v1/models/<path:model>:predict",
        read_predict,
        KservePredictSchema,
        long_members=frozenset({"instances"}),
        takes_base64=True,  # or rather any JSON: a prediction may be a text
        any_type=True,
    ),
)
