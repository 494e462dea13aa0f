"""What an error of OpenAI's form is about: the model, how vectors were asked for, or something else."""

from __future__ import annotations

import re
from typing import Any

from upstream.dialects.relaying import MAX_READ, relayed
from upstream.dialects.words import MAX_DEPTH, MAX_LISTED, decoded, read

_ENCODING = re.compile(r"encoding_format|\bbase64\b", re.IGNORECASE).search
#: Codes and types of an error that is about the model's name: OpenAI's and vLLM's, Mistral's.
_MODEL_CODES = frozenset({"model_not_found", "invalid_model", "unknown_model"})
#: As vLLM, LiteLLM, Ollama, Mistral, Voyage and Together say it. None begins with a text of the client's but its name.
_MODEL = re.compile(
    r"\bmodel\b.{0,200}?\b(?:does not exist|do(?:es)? not have access|not found|not supported|not available|required)\b"
    r"|\b(?:invalid|unknown|unsupported|no such|unable to access|specify a|provide a) model\b"
    r"|\bfield required: model\b",
    re.IGNORECASE,
).search
#: Members whose values say what an error is about. What a validator echoes (``input``, ``ctx``) is not among them.
_TELLING = ("message", "msg", "detail", "error", "errors", "param", "loc")


def concerns_encoding(body: bytes) -> bool:
    """Whether an error says that vectors cannot be had in the encoding that was asked for."""
    said = decoded(body)
    if said is None:
        return _ENCODING(read(body)[0]) is not None
    return any(_ENCODING(text) for text in _told(said))


def concerns_model(body: bytes) -> bool:
    """Whether an error says that there is no such model, or that one has to be named."""
    said = decoded(body)
    error = said.get("error", said) if isinstance(said, dict) else None
    codes = {error.get("code"), error.get("type")} if isinstance(error, dict) and _are_texts(error) else set()
    return not _MODEL_CODES.isdisjoint(codes) or _MODEL(read(body)[0]) is not None


def said_in(body: bytes) -> str:
    """Return the words of an error that came with 200: one line, empty where there are none."""
    text, _ = read(body)
    said = decoded(body)
    base = said.get("base_resp") if isinstance(said, dict) else None  # MiniMax
    message = base.get("status_msg") if isinstance(base, dict) else None
    return text or (relayed(message) if isinstance(message, str) else "")


def _told(said: Any, depth: int = MAX_DEPTH) -> list[str]:
    """Return the texts in a JSON value that say what it is about."""
    if isinstance(said, str):
        return [said[:MAX_READ]]
    if depth and isinstance(said, dict):
        return [text for name in _TELLING for text in _told(said.get(name), depth - 1)]
    if depth and isinstance(said, list):
        return [text for each in said[:MAX_LISTED] for text in _told(each, depth - 1)]
    return []


def _are_texts(error: dict[str, Any]) -> bool:
    return all(isinstance(error.get(name), str | int | None) for name in ("code", "type"))
