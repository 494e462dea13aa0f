"""sentence-transformers behind FastAPI and uvicorn: TEI's body by luck of the field's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tests.support.upstream.forms.fastapi import ROUTER, UNCAUGHT, UVICORN, UVICORN_IDLE, invalid, json_reply, malformed
from tests.support.upstream.forms.form import Recorded, Reply, Trouble, compact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MIXED = ["a", 5]


class PlainForm(Recorded):
    """``POST …/embed``, ``GET …/health``; no limits, no ``/info``. Any exception is a bare 500."""

    path: ClassVar[str] = "/embed"
    health_path: ClassVar[str] = "/health"
    idle: ClassVar[float | None] = UVICORN_IDLE
    headers: ClassVar[tuple[str, ...]] = UVICORN
    pages: ClassVar[Mapping[str, Reply]] = {"/health": json_reply(200, {"status": "ok"})}
    troubles: ClassVar[Mapping[Trouble, Reply]] = {
        **ROUTER,
        Trouble.BAD_INPUT: UNCAUGHT,
        Trouble.REFUSED_INPUT: invalid(
            ("string_type", ["body", "inputs", "str"], "Input should be a valid string", _MIXED),
            ("string_type", ["body", "inputs", "list[str]", 1], "Input should be a valid string", 5),
        ),
        Trouble.MALFORMED: malformed(14, "Expecting ',' delimiter"),
    }

    def answer(self, vectors: Sequence[bytes]) -> bytes:
        return b"[" + b",".join(vectors) + b"]"

    def refusal(self, text: str, error_type: str = "Validation") -> bytes:
        return compact({"detail": text})

    def failure(self, text: str) -> Reply:
        return UNCAUGHT
