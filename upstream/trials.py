"""Finds out by small calls what a server takes that says nothing of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from batching.errors import UpstreamMisconfigured, UpstreamProtocolError
from formats.slices import BadRowsError
from upstream.dialects.refusals import refusal
from upstream.dialects.vectors import ONE_TEXT, find, split_at
from upstream.dialects.words import decoded
from upstream.dialects.wrong_members import Wrong, wrong_members

if TYPE_CHECKING:
    from collections.abc import Callable

    from upstream.http_reply import Reply

#: What is tried, in this order: path and member.
_TRIED = (
    *(("/embed", "inputs"), ("/embed", "texts"), ("/embed", "input"), ("/v1/embeddings", "input")),
    *(("/embeddings", "input"), ("/encode", "texts"), ("/", "inputs")),
)
#: Members that are tried on another path.
_FIELDS = ["inputs", "texts", "input"]
#: Calls made at most. Each is one word, which costs a hosted server's customer next to nothing.
MAX_CALLS = 10
_WORD = "ping"

_to_json = msgspec.json.encode


class Tried(NamedTuple):
    """A call that a server has answered in a way that tells what it takes."""

    #: ``tei``, ``openai`` or ``plain``.
    api: str
    why: str
    path: str
    field: str
    output_field: str = ""
    problem: str = ""


class Trier:
    """Tries paths and members until one is answered with a vector.

    ``troubled``, ``refused`` and ``unknown`` tell why none was: by an answer that tells nothing, for the key, or for
    want of the path.
    """

    def __init__(
        self,
        post: Callable[[str, bytes], Reply | None],
        *,
        path: str = "",
        field: str = "",
        output: str = "",
        extra: str = "",
        model: str = "",
    ) -> None:
        """``path``, ``field``, ``output`` and ``extra`` (a JSON object): what is known already; empty if nothing is."""
        self._post = post
        self._path = path
        self._field = field
        self._place = tuple(output.split(".")) if output else None
        self._extra: dict[str, Any] = msgspec.json.decode(extra) if extra else {}
        self._model = model
        self.troubled = self.refused = self.unknown = ""
        #: Whether each call was answered, and by no passing trouble of the server.
        self.is_settled = True

    def find(self, *, is_openai: bool = False) -> Tried | None:
        """Return what the first call tells that is answered; None if none is. ``is_openai``: by its address."""
        waiting = [("/embeddings", "input")] if is_openai and not self._path else self._pairs()
        seen: set[tuple[str, str]] = set()
        while waiting and len(seen) < MAX_CALLS:
            pair = waiting.pop(0)
            if pair in seen:
                continue
            seen.add(pair)
            path, field = pair
            reply = self._post(path, self._body(path, field))
            if reply is None:
                self.troubled, self.is_settled = f"POST {path} is not answered in time", False
                return None
            if reply.status == 200:
                if (tried := self._read(path, field, reply)) is not None:
                    return tried
            elif reply.status in {404, 405}:
                self.unknown = f"POST {path} is answered with status {reply.status}"
                waiting = [each for each in waiting if each[0] != path]
            elif reply.status in {401, 403}:
                self.refused = f"it refuses the key: POST {path} is answered with status {reply.status}"
                self.is_settled = False
                return None
            elif (told := self._told(path, field, reply)) is not None:
                if isinstance(told, Tried):
                    return told
                waiting.insert(0, (path, told))
        return None

    def _pairs(self) -> list[tuple[str, str]]:
        """Return what to try: the paths and members that are known, with those that are usual beside them."""
        paths = [self._path] if self._path else list(dict.fromkeys(path for path, _ in _TRIED))
        usual = {path: [field for other, field in _TRIED if other == path] for path in paths}
        return [(path, each) for path in paths for each in ([self._field] if self._field else usual[path] or _FIELDS)]

    def _body(self, path: str, field: str) -> bytes:
        body: dict[str, Any] = {field: [_WORD], **self._extra}
        if path.endswith("/embeddings") and self._model:
            body.setdefault("model", self._model)
        return _to_json(body)

    def _read(self, path: str, field: str, reply: Reply) -> Tried | None:
        """Return what a 200 tells; None if it holds no vector."""
        try:
            place = find(reply.body) if self._place is None else self._place
            split_at(reply.body, place, 1)
        except UpstreamMisconfigured:
            why = f"POST {path} with {field!r} is answered with one vector for a list"
            return Tried("plain", why, path, field, problem=ONE_TEXT)
        except (UpstreamProtocolError, BadRowsError) as problem:
            self.troubled = f"POST {path} is answered without vectors: {problem}"
            return None
        why = f"POST {path} with {field!r} is answered with vectors"
        is_listed = place == ("data",) and b'"embedding"' in reply.body
        if is_listed and field == "input" and path.endswith("/embeddings"):
            return Tried("openai", why, path, field)
        if not place and (path, field) == ("/embed", "inputs") and not self._extra:
            return Tried("tei", why, path, field)
        return Tried("plain", why, path, field, ".".join(place))

    def _told(self, path: str, field: str, reply: Reply) -> Tried | str | None:
        """Return the member that the server misses, or that it takes one text a call; None if it tells neither."""
        for name, wrong in wrong_members(decoded(reply.body)):
            if wrong is Wrong.MISSING_IN_URL or (wrong is Wrong.ONE_TEXT and name == field):
                why = f"POST {path} wants a text for {field!r}"
                return Tried("plain", why, path, field, problem=ONE_TEXT)
            if wrong is Wrong.MISSING and name not in self._extra and not self._field:
                return name
        self.is_settled = self.is_settled and reply.status < 500 and reply.status not in {408, 429}
        text = refusal(reply).text
        self.troubled = f"POST {path} is answered with status {reply.status}{text and f': {text}'}"
        return None
