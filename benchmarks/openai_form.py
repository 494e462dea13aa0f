"""OpenAI's form of an embeddings call, for the simulated upstream: numbers, or base64 where it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from formats.floats import as_base64

if TYPE_CHECKING:
    from benchmarks.vectors import VectorSource

MODEL = "simulated"
#: Texts of which the base64 of their vector is remembered: it would cost more than the rest of a call.
MOST_REMEMBERED = 4096


class Asked(msgspec.Struct):
    """The members that are looked at."""

    input: str | list[str]
    encoding_format: str = "float"


class OpenAiForm:
    """Turns texts into the body of an answer."""

    def __init__(self, vectors: VectorSource) -> None:
        self._vectors = vectors
        self._packed: dict[bytes, bytes] = {}

    def answer(self, texts: list[str], encoding: str) -> bytes:
        """Return the body; every text counts as three tokens and one for each four characters."""
        rows = [
            b'{"object":"embedding","index":%d,"embedding":%b}' % (at, self._told(text, encoding))
            for at, text in enumerate(texts)
        ]
        tokens = tokens_of(texts)
        return b'{"object":"list","data":[%b],"model":"%b","usage":{"prompt_tokens":%d,"total_tokens":%d}}' % (
            b",".join(rows),
            MODEL.encode(),
            tokens,
            tokens,
        )

    def _told(self, text: str, encoding: str) -> bytes:
        vector = self._vectors.vector(text)
        if encoding != "base64":
            return vector
        packed = self._packed.get(vector)
        if packed is None:
            if len(self._packed) >= MOST_REMEMBERED:
                self._packed.clear()
            packed = self._packed[vector] = b'"' + as_base64(vector) + b'"'
        return packed


def tokens_of(texts: list[str]) -> int:
    """Return the tokens that a call counts as."""
    return sum(3 + len(text) // 4 for text in texts)


decode = msgspec.json.Decoder(Asked).decode
