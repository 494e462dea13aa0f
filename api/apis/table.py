"""Which route reads which body, and in whose form the errors of a path are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.apis import cohere, embed, kserve, native, ollama, openai, openai_errors, tei, tei_routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.apis.query import Api, Route

ROUTES: Sequence[Route] = (
    *embed.ROUTES,
    *tei_routes.ROUTES,
    *openai.ROUTES,
    *kserve.ROUTES,
    *ollama.ROUTES,
    *cohere.ROUTES,
)

APIS: Sequence[Api] = (
    native.NativeApi(),
    tei.TeiApi(),
    openai_errors.OpenAiApi(),
    kserve.KServeApi(),
    ollama.OllamaApi(),
    cohere.CohereApi(),
)


def api_of(path: str) -> Api:
    """Return the API of a path: the one that its end tells, else the one with the longest prefix it begins with."""
    for api in APIS:
        if api.suffixes and path.endswith(api.suffixes):
            return api
    matches = [(len(prefix), at) for at, api in enumerate(APIS) for prefix in api.prefixes if path.startswith(prefix)]
    return APIS[max(matches)[1]]


def unknown(path: str) -> str | None:
    """Say of an unknown path what is served instead; None where nothing comes near it."""
    return kserve.not_found(path)
