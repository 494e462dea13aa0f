"""OpenAI's embeddings, as OpenAI, Azure and the many servers speak them that call themselves compatible."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from batching.errors import Unsupported, UpstreamOverloaded, UpstreamProtocolError
from batching.key import BatchKey, Options, Task
from batching.outcomes import Answer
from formats.bounded import Bounded
from formats.slices import BadRowsError, NotVectorsError
from upstream.dialects.dialect import AskAgain, Refusal, RefusalKind, UpstreamInfo
from upstream.dialects.foreign import without_foreign
from upstream.dialects.openai_encoding import Encoding, Encodings
from upstream.dialects.openai_errors import concerns_encoding, concerns_model, said_in
from upstream.dialects.openai_models import Models, models_of
from upstream.dialects.openai_paths import Paths, without_route
from upstream.dialects.openai_vectors import NoDataError, embeddings
from upstream.dialects.presets import UNKNOWN_HOST, preset_of
from upstream.dialects.refusals import refusal
from upstream.dialects.texts import as_embedding, check_instances
from upstream.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from batching.call import Item
    from upstream.http_reply import Reply

#: Bytes that one item's row may take in a reply: 16,384 numbers of 32 characters, and its members.
MAX_REPLY_BYTES_PER_ITEM = 16_384 * 32 + 512
#: Bytes of a reply beside its rows.
MAX_REPLY_BYTES_BESIDE = 65_536
#: Keys, which clients may choose, of which something is remembered.
MAX_REMEMBERED_KEYS = 256

_FAMILY = "openai"
#: Marks the key of token ids: servers refuse a list that holds texts as well, so the two share no batch.
_FAMILY_OF_IDS = "openai, token ids"
_QUOTE = ord('"')
#: Members that are written by ``request`` itself.
_OWN = frozenset({"input", "model", "dimensions", "encoding_format"})
#: Members of Voyage, Jina, Cohere and vLLM with which base64 may hold something else than float32.
_OF_OTHER_NUMBERS = frozenset({"output_dtype", "embedding_type", "embedding_types", "embed_dtype", "endianness"})
#: Statuses of a server that does not know the path; and of one that may not have liked the encoding.
_UNKNOWN_PATH = frozenset({404, 405})
_MAY_BE_ENCODING = frozenset({400, 422, 500, 501})
#: Words of a 200 that says that there is too much to do.
_IS_BUSY = re.compile(r"rate.?limit|too many requests|throttl|server (?:is )?busy|overloaded", re.IGNORECASE).search
#: Statuses of a server that does not know the model, or does not serve it to this client.
_OF_MODEL = frozenset({400, 403, 404, 422})

_to_json = msgspec.json.encode


class _Asked(threading.local):
    """How the last request of this thread was made, which is the one that its next reply answers."""

    path = ""
    #: What the key names, and what stood in its place where it names none.
    model: str | None = None
    only_model: str | None = None
    encoding = Encoding.UNSAID


class OpenAiDialect:
    """``{"input", "model"}`` in, ``{"data": [{"index", "embedding"}]}`` out.

    It learns from replies how the server is asked: on which path, and whether it can answer base64.
    """

    name = _FAMILY

    def __init__(self, base_url: str, model: str | None = None, path: str | None = None) -> None:
        """``base_url``: paths of requests stand behind its own. ``model``: asked for in place of the clients'.

        ``path``: takes the calls; None: ``/v1/embeddings`` behind a bare address and ``/embeddings`` behind others,
        and where that is unknown the other of the two.
        """
        self._preset = preset_of(base_url)
        self._paths = Paths(urlsplit(without_route(base_url)).path, path)
        self._model = model
        self._only_model: str | None = None
        #: Whether the server lists several models, of which each request has to name one.
        self._has_choice = False
        #: LiteLLM's /health asks each of its models, and is not its probe. ``describe`` leaves what the server knows.
        self._all_health_paths = ("/health/readiness", "/health", "/v1/models") if self._paths.is_root else ("/models",)
        self.health_paths: Sequence[str] = self._all_health_paths
        self._encodings = Encodings(Encoding.BASE64 if self._preset.takes_base64 else Encoding.FLOAT)
        self._members: Bounded[tuple[BatchKey, str | None], bytes] = Bounded(MAX_REMEMBERED_KEYS)
        self._fitted: Bounded[BatchKey, BatchKey] = Bounded(MAX_REMEMBERED_KEYS)
        self._asked = _Asked()

    def __repr__(self) -> str:
        return f"<OpenAiDialect, {self._paths}, {self._encodings}>"

    # ---- keys -----------------------------------------------------------------------------------

    def fit(self, key: BatchKey, items: Sequence[Item]) -> BatchKey:
        """Return the key without what holds anyway; that of token ids is another than that of texts.

        Raises ``Unsupported``.
        """
        fitted = self._fitted.get(key) or self._fit(key)
        if key.task is Task.PREDICT:
            check_instances(items)
        are_texts = items[0][0] == _QUOTE
        if len(items) > 1 and len({item[0] == _QUOTE for item in items}) > 1:
            raise Unsupported("an OpenAI upstream takes texts or token ids in one request, not both", field="inputs")
        return fitted if are_texts else fitted._replace(options=fitted.options._replace(family=_FAMILY_OF_IDS))

    def _fit(self, key: BatchKey) -> BatchKey:
        task, options, named = as_embedding(key, "an OpenAI")
        if task is not Task.EMBED:
            message = f"an OpenAI upstream cannot do {task}; a Text Embeddings Inference upstream with such a model can"
            raise Unsupported(message)
        model = named if self._is_clients_choice else None
        if model is None and self._has_choice:
            raise Unsupported("model: the upstream serves several: name one, or set upstream_model", field="model")
        fitted = BatchKey(Task.EMBED, _fitting(options), None if model == self._only_model else model)
        fitted = self._fitted[key] = key if fitted == key else fitted
        return fitted

    # ---- calls ----------------------------------------------------------------------------------

    def request(self, key: BatchKey, items: Sequence[Item]) -> Request:
        only_model = self._only_model
        members = self._members.get((key, only_model))
        if members is None:
            members = self._members[key, only_model] = self._members_of(key, only_model)
        asked, encoding, path = self._asked, self._encoding(key), self._paths.current
        asked.path, asked.model, asked.only_model, asked.encoding = path, key.model, only_model, encoding
        return Request(path, b'{"input":[%b]%b%b}' % (b",".join(items), encoding.value, members))

    def _encoding(self, key: BatchKey) -> Encoding:
        encoding = self._encodings.of(key.model)
        more = key.options.more
        if encoding is Encoding.BASE64 and more and not _OF_OTHER_NUMBERS.isdisjoint(name for name, _ in more):
            return Encoding.FLOAT
        return encoding

    def _members_of(self, key: BatchKey, only_model: str | None) -> bytes:
        """Return the members of a request beside the inputs and the encoding: ``b',"model":"m"'``."""
        model = key.model or only_model if self._is_clients_choice else self._model
        told = {} if model is None else {"model": _to_json(model)}
        if key.options.dimensions is not None:
            told["dimensions"] = _to_json(key.options.dimensions)
        told.update((name, value) for name, value in key.options.more if name not in _OWN)
        return b"".join(b"," + _to_json(name) + b":" + value for name, value in told.items())

    def reply_limit(self, key: BatchKey, count: int) -> int:  # noqa: ARG002 - all keys give vectors
        return MAX_REPLY_BYTES_BESIDE + count * MAX_REPLY_BYTES_PER_ITEM

    def answer(self, key: BatchKey, count: int, reply: Reply) -> Answer:
        asked = self._asked
        try:
            found = embeddings(reply.body, count)
        except NoDataError as problem:
            words = said_in(reply.body)
            is_told = bool(words) and concerns_encoding(reply.body)
            if (is_told or not words) and self._encodings.refused(asked.model, asked.encoding, is_told=is_told):
                raise AskAgain from problem
            if _IS_BUSY(words):
                raise UpstreamOverloaded("the upstream answered 200 with a rate limit", retry_after=1) from problem
            # The words may quote any of the inputs, and they may belong to different clients.
            quoted = f": {words}" if words and count == 1 else ""
            raise UpstreamProtocolError(f"the upstream answered 200 with an error{quoted}", reason=words) from problem
        except BadRowsError:
            raise
        except NotVectorsError as problem:
            raise UpstreamProtocolError(str(problem)) from problem
        self._paths.answered(asked.path)
        is_base64 = found.vectors[0][0] == _QUOTE
        self._encodings.answered(key.model, as_base64=is_base64 and asked.encoding is Encoding.BASE64)
        return Answer(found.vectors, found.dimension, tokens=found.tokens)

    def refusal(self, reply: Reply) -> Refusal:
        asked = self._asked
        read = refusal(reply)
        status = reply.status
        is_of_model = status in _OF_MODEL and (concerns_model(reply.body) or self._knows_all_but_model(status))
        if status in _UNKNOWN_PATH and not is_of_model and self._paths.unknown(asked.path):
            raise AskAgain
        if status in _MAY_BE_ENCODING and not (is_of_model or read.concerns_size or read.concerns_length):
            is_told = concerns_encoding(reply.body)
            if self._encodings.refused(asked.model, asked.encoding, is_told=is_told):
                raise AskAgain
        if is_of_model and self._is_clients_choice:
            if asked.model is None and asked.only_model is not None:
                self._forget_only_model(asked.only_model)
                raise AskAgain
            # It is the client's choice, or its silence, and none of the server's other clients is concerned.
            return Refusal(RefusalKind.INPUTS, read.text)
        return read

    def _forget_only_model(self, name: str) -> None:
        """The server, which has come back with another model, does not know the one that it has listed."""
        if self._only_model == name:
            self._only_model = None

    @property
    def _is_clients_choice(self) -> bool:
        """Whether the model is named by clients, and by no setting and no address."""
        return self._model is None and not self._paths.fixes_model

    def _knows_all_but_model(self, status: int) -> bool:
        """Whether a 404 can only mean the model: a client has named it, and the path has given vectors before."""
        is_named = self._asked.model is not None and self._is_clients_choice
        return status == 404 and is_named and self._paths.is_known(self._asked.path)

    # ---- what it says of itself -----------------------------------------------------------------

    def describe(self, get: Callable[[str], Reply | None]) -> UpstreamInfo | None:
        """Read the list of models, which tells the path as well; limits are those known of the host."""
        self._encodings.forget()
        self._paths.forget()
        models = self._read_models(get)
        self._only_model = models.only if models is not None else None
        self._has_choice = self._is_clients_choice and models is not None and len(models.names) > 1
        self._fitted.clear()
        self.health_paths = _known_of(self._all_health_paths, get)
        if models is None and self._model is None and self._preset is UNKNOWN_HOST:
            return None
        told = models or Models((), None)
        return UpstreamInfo(
            self._model or told.only,
            self._preset.most_items or told.most_items,
            None,
            max_batch_tokens=self._preset.most_tokens,
            models=told.names,
        )

    def _read_models(self, get: Callable[[str], Reply | None]) -> Models | None:
        for path, of_models in self._paths.of_models:
            reply = get(of_models)
            models = models_of(reply.body) if reply is not None and reply.status == 200 else None
            if models is not None:
                self._paths.found(path)
                return models
        return None

    def credentials(self, api_key: str) -> Mapping[str, str]:
        # An address that names a deployment is Azure's, whatever name its host has been given.
        is_azure = self._preset.has_key_header or self._paths.fixes_model
        return {"api-key": api_key} if is_azure else {"Authorization": f"Bearer {api_key}"}

    def forwards(self, path: str) -> bool:  # noqa: ARG002 - no route is shared with an API that passes requests on
        return False


def _known_of(paths: tuple[str, ...], get: Callable[[str], Reply | None]) -> tuple[str, ...]:
    """Return the first of several paths that answers 200, so that no probe asks for those before it; else all."""
    if len(paths) == 1:
        return paths
    known = (path for path in paths if (reply := get(path)) is not None and reply.status == 200)
    return next(((path,) for path in known), paths)


def _fitting(options: Options) -> Options:
    """Return the options without those that say what an OpenAI server does anyway; raises ``Unsupported``.

    What it does with a text that is too long is the server's own: ``truncate`` is not looked at.
    """
    if options.normalize is False:
        message = "normalize: an OpenAI upstream cannot be asked for vectors that are not normalized"
        raise Unsupported(message, field="normalize")
    if options.prompt_name is not None:
        raise Unsupported("prompt_name: an OpenAI upstream knows no prompts by name", field="prompt_name")
    if options.truncation_direction == "left" and options.truncate is not False:
        message = "truncation_direction: an OpenAI upstream cuts the end of a text that is too long, or refuses it"
        raise Unsupported(message, field="truncation_direction")
    if options.family != _FAMILY_OF_IDS:
        options = without_foreign(options, _FAMILY)
    return options._replace(normalize=None, truncate=None, truncation_direction=None, raw_scores=None)
