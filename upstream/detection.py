"""Finds out which API a server speaks: from what it says of itself, and from small calls where it says nothing.

::

    GET /info ──> GET /v1/models, /models ──> GET /openapi.json ──> GET /api/tags, /v2 ──> a guess ──> POST …
    TEI           OpenAI, KServe v1           plain, OpenAI         Ollama, KServe v2      if calls may be made

Pure but for ``get`` and ``post``, which the caller gives.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from upstream.dialects.kserve import model_names
from upstream.dialects.openai_paths import without_route
from upstream.dialects.openapi import takers
from upstream.dialects.plain import INPUT_FIELD, PATH
from upstream.dialects.presets import UNKNOWN_HOST, preset_of
from upstream.dialects.relaying import plain
from upstream.dialects.vectors import ONE_TEXT
from upstream.dialects.words import decoded
from upstream.trials import Trier

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from upstream.dialects.openapi import Taker
    from upstream.http_reply import Reply

#: Base URLs that end like this are those of OpenAI's API: their paths have no ``/v1`` of their own.
_IS_OPENAI_BASE = re.compile(r"/v\d+\w*$|/openai(?:/|$)").search
#: Names of models that are said in one line.
MAX_NAMES, MAX_NAME = 3, 80

#: Why nothing is known of a server that gives no reply in time.
SILENT = "it does not answer"
UNKNOWN = "none of the usual paths takes texts: upstream_api and upstream_path would say how it is called"
#: What to look at where a server does not answer as its settings have it.
SETTINGS = "see upstream_path, upstream_input_field, upstream_output_field and upstream_extra"


class Found(NamedTuple):
    """Which API a server speaks, and where."""

    #: ``tei``, ``openai``, ``kserve`` or ``plain``.
    api: str
    #: What tells so, for the banner and the log: ``GET /v1/models lists bge-small``.
    why: str
    #: Where calls go, the member that holds the texts, and where the vectors stand; empty: as the dialect has it.
    path: str = ""
    input_field: str = ""
    output_field: str = ""
    #: Why it cannot be used; empty if it can.
    problem: str = ""
    #: The models that it lists; empty where that says nothing of what it is asked for.
    models: tuple[str, ...] = ()
    #: Whether the server did not tell. A call that fails before any has succeeded is a reason to find again, by calls.
    is_guess: bool = False


#: Members of `/info` that TEI alone has.
_OF_TEI = frozenset({"model_type", "max_client_batch_size"})


class Wanted(NamedTuple):
    """What the settings say of the server; empty: it is to be found out."""

    api: str = "auto"
    model: str = ""
    path: str = ""
    input_field: str = ""
    output_field: str = ""
    extra: str = ""


class Detector:
    """Asks one server. ``reason`` tells why nothing was found."""

    def __init__(
        self,
        get: Callable[[str], Reply | None],
        post: Callable[[str, bytes], Reply | None],
        wanted: Wanted | None = None,
        *,
        url: str = "",
    ) -> None:
        """``get`` and ``post`` take a path below ``url``, and return None if there is no reply in time."""
        self._get = get
        self._post = post
        self._wanted = wanted or Wanted()
        self._base = urlsplit(without_route(url)).path.rstrip("/")
        self._is_hosted = preset_of(url) != UNKNOWN_HOST
        self._is_silent = False
        self._refused = ""
        self._troubled = ""
        self.reason = ""
        #: What `/info` holds.
        self._info: Any = None
        #: Whether it has answered small calls, and none of them well.
        self.is_settled = False

    def find(self, *, may_call: bool = False) -> Found | None:
        """Return what the server speaks; None if it does not answer yet, or not as it should: ask again later.

        With ``may_call``, one that says nothing of itself is sent a few small calls; otherwise it is guessed at. One
        that the settings call plain is sent a call in any case: whether it takes lists is to be known before it is
        ready.
        """
        self._is_silent, self._refused, self._troubled, self.is_settled = False, "", "", False
        for step in self._steps(may_call=may_call):
            found = step()
            if found is not None:
                return found
            if self._is_silent:
                self.reason = SILENT
                return None
        self.reason = self._troubled or self._refused
        return None

    def _steps(self, *, may_call: bool) -> Sequence[Callable[[], Found | None]]:
        if self._wanted.api == "plain":
            return [self._documented_as_set, self._by_calls, self._as_said]
        if self._is_hosted:
            return [self._models, self._by_address]
        last = [self._by_calls, self._by_address] if may_call else [self._by_address, self._guess]
        return [self._tei, self._models, self._documented, self._tei_by_name, self._ollama, self._served, *last]

    # ---- what servers say of themselves ---------------------------------------------------------

    def _tei(self) -> Found | None:
        self._info = self._said("/info")
        return self._info_with(_OF_TEI)

    def _tei_by_name(self) -> Found | None:
        """Take a server for a TEI that names its model and nothing else; its document would have said what it is."""
        return self._info_with({"model_id"})

    def _info_with(self, names: Collection[str]) -> Found | None:
        said = self._info
        if not isinstance(said, dict) or said.keys().isdisjoint(names):
            return None
        return Found("tei", f"GET /info {_names('tells', [said.get('model_id')])}")

    def _models(self) -> Found | None:
        for page in ("/models",) if _IS_OPENAI_BASE(self._base) else ("/v1/models", "/models"):
            said = self._said(page)
            if names := model_names(said):
                return Found("kserve", f"GET {page} {_names('lists', names)}", models=names)
            if (ids := _ids(said)) is not None:
                return Found("openai", f"GET {page} {_names('lists', ids)}", self._embeddings_beside(page))
        return None

    def _embeddings_beside(self, page: str) -> str:
        """Return the path of calls, where it is not the one that follows from the base URL."""
        path = page.removesuffix("models") + "embeddings"
        usual = "/embeddings" if self._base else "/v1/embeddings"
        return self._wanted.path or (path if path != usual else "")

    def _documented(self) -> Found | None:
        """Look for a route that takes texts in the server's OpenAPI document, as FastAPI has one."""
        wanted = self._wanted
        documented = [
            each
            for each in takers(self._said("/openapi.json"))
            if wanted.path in {"", each.path} and wanted.input_field in {"", each.field}
        ]
        return _found_in(documented[0], wanted) if documented else None

    def _documented_as_set(self) -> Found | None:
        """Look for the documented route, and by a call whether the vectors stand where the settings say."""
        found = self._documented()
        if found is None or found.problem or not self._wanted.output_field:
            return found
        return self._called(found.path, found.input_field) or found

    def _ollama(self) -> Found | None:
        said = self._said("/api/tags")
        models = said.get("models") if isinstance(said, dict) else None
        if not isinstance(models, list):
            return None
        names = [each.get("name") for each in models if isinstance(each, dict)]
        return Found("openai", f"GET /api/tags {_names('lists', names)}, as Ollama's", "/v1/embeddings")

    def _served(self) -> Found | None:
        """Look for the model itself: TensorFlow Serving lists none, and KServe v2 is not spoken here."""
        model = self._wanted.model
        page = f"/v1/models/{quote(model, safe='')}"
        said = self._said(page) if model else None
        if isinstance(said, dict) and ("model_version_status" in said or said.get("ready") is True):
            return Found("kserve", f"GET {page} tells that it is served")
        said = self._said("/v2")
        if isinstance(said, dict) and isinstance(said.get("extensions"), list):
            problem = "it speaks KServe v2 only, which is not spoken here: v1, OpenAI's API or TEI's would be"
            return Found("kserve", f"GET /v2 {_names('tells', [said.get('name')])}", problem=problem)
        return None

    # ---- what it does ---------------------------------------------------------------------------

    def _by_calls(self) -> Found | None:
        if self._refused or self._troubled:
            return None
        return self._called(self._wanted.path, self._wanted.input_field)

    def _called(self, path: str, field: str) -> Found | None:
        """Return what small calls show; None where none of them is answered well, unless the settings are to blame."""
        wanted = self._wanted
        is_set = wanted.api == "plain"
        output = wanted.output_field if is_set else ""
        trier = Trier(self._post, path=path, field=field, output=output, extra=wanted.extra, model=wanted.model)
        tried = trier.find(is_openai=_IS_OPENAI_BASE(self._base) is not None)
        if tried is None:
            told = trier.troubled or (trier.unknown if path else "") or UNKNOWN
            self._troubled, self._refused, self.is_settled = told, trier.refused, trier.is_settled
            if not (is_set and trier.is_settled):
                return None
            return self._as_said()._replace(problem=told if told == UNKNOWN else f"{told}; {SETTINGS}")
        if is_set or tried.api == "plain":
            output = wanted.output_field or tried.output_field
            return Found("plain", tried.why, tried.path, tried.field, output, problem=tried.problem)
        return Found(tried.api, tried.why, tried.path if tried.api == "openai" else "")

    # ---- what is left ---------------------------------------------------------------------------

    def _by_address(self) -> Found | None:
        if not self._is_hosted and not _IS_OPENAI_BASE(self._base):
            return None
        why = "its address is that of OpenAI's API"
        return Found("openai", why, self._wanted.path, is_guess=not self._is_hosted)

    def _guess(self) -> Found | None:
        if self._troubled or self._refused:
            return None
        wanted = self._wanted
        if wanted.path or wanted.input_field or wanted.output_field or wanted.extra:
            return self._as_said()
        return Found("tei", "it says nothing of itself", is_guess=True)

    def _as_said(self) -> Found:
        wanted = self._wanted
        path, field = wanted.path or PATH, wanted.input_field or INPUT_FIELD
        why = "upstream_api says so" if wanted.api == "plain" else "by its settings"
        return Found("plain", why, path, field, wanted.output_field, is_guess=wanted.api != "plain")

    # ---- asking ---------------------------------------------------------------------------------

    def _said(self, path: str) -> Any:
        """Return the JSON that this page holds; None if there is no such page."""
        reply = self._get(path)
        if reply is None:
            self._is_silent = True
            return None
        if reply.status == 200:
            return decoded(reply.body)
        if reply.status in {401, 403}:
            self._refused = self._refused or f"it refuses the key: GET {path} is answered with status {reply.status}"
        elif reply.status in {408, 429} or (reply.status >= 500 and reply.status != 501):
            self._troubled = self._troubled or f"GET {path} is answered with status {reply.status}"
        return None


def as_set(wanted: Wanted) -> Found | None:
    """Return what the settings leave no doubt about; None if the server has to be asked."""
    if wanted.api in {"auto", "plain"}:
        return None
    return Found(wanted.api, "upstream_api says so", wanted.path if wanted.api == "openai" else "")


def _found_in(taker: Taker, wanted: Wanted) -> Found:
    """Return what a documented route makes of the server."""
    path, field = taker.path, taker.field
    why = f"GET /openapi.json documents POST {path} with {field!r}"
    if not taker.takes_list:
        return Found("plain", f"{why}, a text", path, field, problem=ONE_TEXT)
    if wanted.api != "plain" and path.endswith("/embeddings") and field == "input" and "model" in taker.known:
        return Found("openai", why, path)
    fixed = decoded(wanted.extra.encode()) if wanted.extra else {}
    missing = sorted(taker.required - set(fixed))
    problem = f"POST {path} wants {', '.join(map(repr, missing))} as well: set upstream_extra" if missing else ""
    return Found("plain", why, path, field, wanted.output_field, problem=plain(problem))


def _ids(said: Any) -> list[Any] | None:
    """Return the names of the models in an answer like OpenAI's; None if it is none."""
    data = said.get("data") if isinstance(said, dict) else None
    if isinstance(data, list) and all(isinstance(each, dict) and "id" in each for each in data):
        return [each["id"] for each in data] if data or said.get("object") == "list" else None
    if isinstance(said, dict) and said.get("object") == "list" and isinstance(said.get("models"), list):
        return [each.get("name") for each in said["models"] if isinstance(each, dict)]
    return None


def _names(verb: str, names: Sequence[Any]) -> str:
    """Return ``lists a, b, c and 4 more``; names are a server's words."""
    told = [plain(each, MAX_NAME) for each in names if isinstance(each, str) and plain(each, MAX_NAME)]
    if not told:
        return "answers"
    more = f" and {len(told) - MAX_NAMES} more" if len(told) > MAX_NAMES else ""
    return f"{verb} {', '.join(told[:MAX_NAMES])}{more}"
