"""Models for the embedded server's tests: quick, without weights, and telling what they were asked."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from embedded.errors import EmptyInputError
from embedded.tokens import Token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from werkzeug.test import TestResponse

TIMEOUT = 10.0  # seconds until a test that waits gives up


class FakeModel:
    """A text of n characters has n tokens and the vector [n, 0.1]. It remembers how it was asked."""

    model_id = "fake"
    dimensions = 2
    max_input_length = 256

    def __init__(self) -> None:
        self.encoded: list[tuple[str | list[int], bool, str]] = []
        self.embedded: list[tuple[int, bool, int | None]] = []

    def encode(self, text_or_ids: str | list[int], *, truncate: bool, direction: str) -> list[int]:
        self.encoded.append((text_or_ids, truncate, direction))
        if not text_or_ids:
            raise EmptyInputError
        return [0] * len(text_or_ids)

    def embed(
        self, encoded: Sequence[Sequence[int]], *, normalize: bool, dimensions: int | None
    ) -> NDArray[np.float32]:
        self.embedded.append((len(encoded), normalize, dimensions))
        return np.array([[len(ids), 0.1] for ids in encoded], np.float32)

    def embed_all(self, encoded: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        return [np.array([[position, 0.5] for position in range(len(ids))], np.float32) for ids in encoded]

    def tokenize(self, text: str, *, add_special_tokens: bool) -> list[Token]:
        marks = [Token(0, "[MARK]", special=True, start=None, stop=None)] if add_special_tokens else []
        return [*marks, Token(7, text, special=False, start=0, stop=len(text.encode()))]

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        return " ".join(str(each) for each in ids if each or not skip_special_tokens)


class GatedModel(FakeModel):
    """Its inference blocks until the gate opens. It counts the inputs encoded and the inferences that run at once."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.arrived = threading.Semaphore(0)
        self.inside = 0
        self.most_inside = 0

    def encode(self, text_or_ids: str | list[int], *, truncate: bool, direction: str) -> list[int]:
        self.arrived.release()
        return super().encode(text_or_ids, truncate=truncate, direction=direction)

    def embed(
        self, encoded: Sequence[Sequence[int]], *, normalize: bool, dimensions: int | None
    ) -> NDArray[np.float32]:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        assert self.gate.wait(TIMEOUT)
        self.inside -= 1
        return super().embed(encoded, normalize=normalize, dimensions=dimensions)

    def await_arrivals(self, count: int) -> None:
        for _ in range(count):
            assert self.arrived.acquire(timeout=TIMEOUT)


class BrokenModel(FakeModel):
    def embed(self, *_: Any, **__: Any) -> NDArray[np.float32]:
        raise RuntimeError("another client's secret text")


def error_of(response: TestResponse) -> tuple[int, str, str]:
    """Return status, type and words of a refusal in the form of TEI's own routes."""
    assert response.mimetype == "application/json"
    body = json.loads(response.data)
    assert set(body) == {"error", "error_type"}
    return response.status_code, body["error_type"], body["error"]
