"""The kinds of servers: makes the dialect of each, and says what it would send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.errors import Unsupported
from batching.key import BatchKey, Task
from upstream.dialects.kserve import KserveDialect
from upstream.dialects.openai import OpenAiDialect
from upstream.dialects.plain import PlainDialect
from upstream.dialects.tei import TeiDialect

if TYPE_CHECKING:
    from upstream.detection import Found, Wanted
    from upstream.dialects.dialect import Dialect

#: What each API is called in sentences.
NAMES = {"tei": "TEI's API", "openai": "OpenAI's API", "kserve": "KServe v1", "plain": "a plain API of its own"}
_KEY, _ITEMS = BatchKey(Task.EMBED), [b'"a"', b'"b"']


def make_dialect(
    api: str,
    url: str,
    *,
    model: str = "",
    path: str = "",
    input_field: str = "",
    output_field: str = "",
    extra: str = "",
    models: tuple[str, ...] = (),
) -> Dialect:
    """Return a new dialect for the server at ``url``. What is empty is the dialect's own, or found out by it.

    ``models``: those that a server of KServe is known to have.
    """
    match api:
        case "tei":
            return TeiDialect()
        case "openai":
            return OpenAiDialect(url, model or None, path or None)
        case "kserve":
            return KserveDialect(model or None, models)
        case "plain":
            return PlainDialect(path, input_field, output_field, extra)
    raise ValueError(f"no dialect for {api!r}")


def dialect_of(found: Found, url: str, wanted: Wanted) -> Dialect:
    """Return a new dialect for what was found; ``wanted``: the settings that it was looked for with."""
    return make_dialect(
        found.api,
        url,
        model=wanted.model,
        path=found.path,
        input_field=found.input_field,
        output_field=found.output_field,
        extra=wanted.extra,
        models=found.models,
    )


def sentence(found: Found, dialect: Dialect) -> str:
    """Return one sentence on what an upstream speaks, what tells so, and what it would be sent."""
    name = NAMES[found.api]
    if found.problem:
        return f"cannot be used ({found.why}): {found.problem}"
    if found.is_guess:
        return f"is taken for a server of {name} ({found.why}; upstream_api overrides it): {example(dialect)}"
    return f"speaks {name} ({found.why}): {example(dialect)}"


def example(dialect: Dialect) -> str:
    """Return the call that two texts would make: ``POST /embed {"inputs":["a","b"]}``."""
    try:
        path, body, _ = dialect.request(dialect.fit(_KEY, _ITEMS), _ITEMS)
    except Unsupported:  # the model is not known yet
        return f"a batch is one POST in {NAMES[dialect.name]}"
    return f"POST {path} {(body or b'').decode()}"
