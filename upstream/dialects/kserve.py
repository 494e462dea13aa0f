"""KServe's v1 protocol: ``POST /v1/models/M:predict`` with instances of any JSON, and as many predictions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from batching.errors import Unsupported, UpstreamProtocolError
from batching.key import BatchKey, Options, Task
from batching.outcomes import Answer
from formats.bounded import Bounded
from formats.elements import NotElementsError, split_elements
from upstream.dialects.dialect import RefusalKind, UpstreamInfo
from upstream.dialects.foreign import without_foreign
from upstream.dialects.refusals import refusal
from upstream.dialects.relaying import plain
from upstream.dialects.texts import check_options, check_texts
from upstream.dialects.vectors import split_at
from upstream.dialects.words import decoded, read
from upstream.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from batching.call import Item
    from upstream.dialects.dialect import Refusal
    from upstream.http_reply import Reply

#: Bytes that one prediction may take in a reply, and all together, and the reply beside them.
MAX_REPLY_BYTES_PER_ITEM = 2**22
MAX_REPLY_BYTES = 256 * 2**20
MAX_REPLY_BYTES_BESIDE = 65_536
#: Keys of which is kept what they are for this server, and how their calls begin and end.
MAX_REMEMBERED_KEYS = 256
_FAMILY = "kserve"
#: KServe's words and TensorFlow Serving's for a model that a client has made up: no mistake of this service.
_NO_SUCH_MODEL = re.compile(
    r"Model with name .* does not exist\.?|Model .* not found\.?|Servable not found .*"
).fullmatch

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_to_json = msgspec.json.Encoder(order="deterministic").encode


class KserveDialect:
    """The bodies and replies of ``:predict``. Members beside the instances are passed on, and are part of the key."""

    name = "kserve"

    def __init__(self, model: str | None = None, models: tuple[str, ...] = ()) -> None:
        """``model``: asked for where the client names none, and for embeddings whatever it names.

        ``models``: those that the server is known to have.
        """
        self._model = model or None
        self._models = models
        self._fitted: Bounded[BatchKey, BatchKey] = Bounded(MAX_REMEMBERED_KEYS)
        self._around: Bounded[BatchKey, tuple[str, bytes]] = Bounded(MAX_REMEMBERED_KEYS)
        self.health_paths = self._health_paths()

    @property
    def _only(self) -> str | None:
        return self._models[0] if len(self._models) == 1 else None

    def _health_paths(self) -> Sequence[str]:
        """Return what answers 200 while the model is loaded, or else while the server runs."""
        model = self._model or self._only
        return ("/v2/health/ready", *([f"/v1/models/{quote(model, safe='')}"] if model else []), "/")

    def fit(self, key: BatchKey, items: Sequence[Item]) -> BatchKey:
        """Return the key with the model that is asked for.

        Raises ``Unsupported`` where there is none to ask for, and for options of an embedding: there are no names for
        them in this protocol.
        """
        if key.task is Task.EMBED:
            check_texts(items, "KServe")
        fitted = self._fitted.get(key)
        if fitted is None:
            fitted = self._fitted[key] = self._fit(key)
        return fitted

    def _fit(self, key: BatchKey) -> BatchKey:
        if key.task is Task.PREDICT:
            options = Options(more=key.options.more, family=key.options.family)
            return BatchKey(Task.PREDICT, options, key.model or self._named())
        if key.task is not Task.EMBED:
            raise Unsupported(f"a KServe upstream cannot do {key.task}: POST /v1/models/M:predict reaches its models")
        options = without_foreign(key.options, _FAMILY)
        check_options(options, "KServe")
        known = key.model if key.model in self._models else None
        model = self._model or known or self._only or key.model or self._named()
        return BatchKey(Task.EMBED, Options(more=options.more, family=options.family), model)

    def _named(self) -> str:
        model = self._model or self._only
        if model is None:
            raise Unsupported("model: the upstream has several, or does not tell: name one", field="model")
        return model

    def request(self, key: BatchKey, items: Sequence[Item]) -> Request:
        around = self._around.get(key)
        if around is None:
            more = b"".join(b",%b:%b" % (_to_json(name), value) for name, value in key.options.more)
            path = f"/v1/models/{quote(key.model or self._named(), safe='')}:predict"
            around = self._around[key] = (path, b"]%b}" % more)
        path, end = around
        return Request(path, b'{"instances":[' + b",".join(items) + end)

    def reply_limit(self, key: BatchKey, count: int) -> int:  # noqa: ARG002
        return MAX_REPLY_BYTES_BESIDE + min(count * MAX_REPLY_BYTES_PER_ITEM, MAX_REPLY_BYTES)

    def answer(self, key: BatchKey, count: int, reply: Reply) -> Answer:
        """Take the predictions apart; for an embedding each has to be a vector."""
        if key.task is Task.EMBED:
            return Answer(*split_at(reply.body, ("predictions",), count))
        try:
            predictions = _object.decode(reply.body).get("predictions")
            if predictions is not None:
                return Answer(split_elements(bytes(predictions), count))
        except NotElementsError as problem:
            raise UpstreamProtocolError(str(problem)) from problem
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise UpstreamProtocolError("the upstream's answer is not a JSON object") from problem
        text, _ = read(reply.body)
        raise UpstreamProtocolError(f"the upstream's answer has no predictions{text and f': {text}'}")

    def refusal(self, reply: Reply) -> Refusal:
        said = refusal(reply)
        if reply.status == 404 and _NO_SUCH_MODEL(said.text):
            return said._replace(kind=RefusalKind.INPUTS)
        return said

    def describe(self, get: Callable[[str], Reply | None]) -> UpstreamInfo | None:
        """Ask which models there are; the only one is asked for where a client names none."""
        reply = get("/v1/models")
        said = decoded(reply.body) if reply is not None and reply.status == 200 else None
        models = model_names(said)
        if models != self._models:
            self._models = models
            self.health_paths = self._health_paths()
            self._fitted.clear()
        told = self._model or self._only
        if told is None and not models:
            return None
        return UpstreamInfo(plain(told) if told else None, None, None, models=models or tuple(filter(None, [told])))

    def credentials(self, api_key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {api_key}"}

    def forwards(self, path: str) -> bool:  # noqa: ARG002
        return False


def model_names(said: Any) -> tuple[str, ...]:
    """Return the names in an answer of ``GET /v1/models``, if it is KServe's: ``{"models": ["a", …]}``."""
    models = said.get("models") if isinstance(said, dict) else None
    if not isinstance(models, list) or not all(isinstance(each, str) and each for each in models):
        return ()
    return tuple(models)
