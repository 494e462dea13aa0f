"""Sends each recorded client request through the whole app and notes what went upstream and what came back.

``python -m tests.support.recording`` writes ``tests/recordings/embed.json`` anew. Do so only when the wire form is
meant to change: the file was first recorded before TEI's wire forms left the engine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import create_app
from batching.clock import NOW
from config import Settings
from tests.support.upstream import ScriptedUpstream, TeiForm, faults

if TYPE_CHECKING:
    from tests.support.upstream import Exchange
    from wiring.service import Service

FILE = Path(__file__).resolve().parents[1] / "recordings" / "embed.json"

#: Vectors whose digits a parser would change.
DIGITS = [b"0.10", b"1e-7", b"-0.0", b"123456789.123456789", b"1E5", b"3"]

BODIES = [
    b'{"input": "text"}',
    b'{"inputs": "text"}',
    b'{"input": ["a", "b"]}',
    b'{"inputs": ["a"]}',
    b'{"inputs": ["a", "b", "c"]}',
    b'{"inputs": [1, 2, 3]}',
    b'{"inputs": [[1, 2], [3]]}',
    b'{"inputs": ["a", [4294967295, 0]]}',
    b'{"input": "\\u00e4\\n\\"\\\\ \\ud83d\\ude00"}',
    '{"input": "ä😀\u2028"}'.encode(),
    b'{"inputs": "a", "normalize": true}',
    b'{"inputs": "a", "normalize": false}',
    b'{"input": "a", "truncate": true}',
    b'{"input": "a", "truncate": false}',
    b'{"input": "a", "truncate": null}',
    b'{"inputs": "a", "truncation_direction": "Right"}',
    b'{"inputs": "a", "truncation_direction": "left"}',
    b'{"inputs": "a", "truncation_direction": "right", "truncate": true}',
    b'{"inputs": "a", "prompt_name": "query"}',
    b'{"inputs": "a", "prompt_name": ""}',
    b'{"inputs": "a", "prompt_name": null, "dimensions": null}',
    b'{"inputs": "a", "dimensions": 64}',
    (
        b'{"inputs": "a", "truncate": true, "normalize": false, "prompt_name": "p", "dimensions": 8, '
        b'"truncation_direction": "Left"}'
    ),
    b'{"inputs": "a", "zeta": 1, "alpha": {"b": [1, 2.50, null], "a": "\\u00e4"}, "normalize": false}',
    b'{"inputs": "a", "model": "m", "user": null}',
    b'{"inputs": "a", "user": "u", "x": 1}',
    b'{"inputs": "a", "number": 1e3, "big": 12345678901234567890, "small": -0.0}',
    b'{"inputs": "a", "raw_scores": true}',
    '{"inputs": "a", "ä": "ö", "z": true, "A": false}'.encode(),
    b'{"inputs": "a", "m\\"q": 1, "truncate": false}',
    b"{}",
    b"[]",
    b"nonsense",
    b'{"input": ""}',
    b'{"input": []}',
    b'{"input": ["a", ""]}',
    b'{"inputs": ""}',
    b'{"inputs": []}',
    b'{"inputs": [""]}',
    b'{"inputs": ["a", ""]}',
    b'{"inputs": [[]]}',
    b'{"inputs": ["a", 1]}',
    b'{"inputs": [1, "a"]}',
    b'{"inputs": [-1]}',
    b'{"inputs": [4294967296]}',
    b'{"inputs": [1.5]}',
    b'{"inputs": [true]}',
    b'{"input": 3}',
    b'{"input": null}',
    b'{"input": {"a": 1}}',
    b'{"input": "a", "inputs": "b"}',
    b'{"input": 1, "inputs": 2, "normalize": 3}',
    b'{"inputs": "a", "normalize": "yes"}',
    b'{"inputs": "a", "normalize": null}',
    b'{"inputs": "a", "truncation_direction": "up"}',
    b'{"inputs": "a", "truncation_direction": 5}',
    b'{"inputs": "a", "truncation_direction": null}',
    b'{"inputs": "a", "prompt_name": 5}',
    b'{"inputs": "a", "dimensions": 0}',
    b'{"inputs": "a", "dimensions": 2.0}',
    b'{"inputs": "a", "dimensions": "8"}',
    b'{"inputs": "a", "dimensions": 0, "normalize": 1, "truncate": 2, "prompt_name": 3, "truncation_direction": 4}',
    b'{"inputs": "\\ud800"}',
    b'{"inputs": "a", "extra": "\\ud800"}',
    b'{"inputs": "a", "\\ud800": 1}',
    b'{"inputs": "a", "prompt_name": "\\ud800"}',
    b'{"input": "\\ud800"}',
    b'{"input": "a", "extra": "\\ud800"}',
    b'{"input": "a", "input": "b"}',
    b'{"inputs": "a", "inputs": "b"}',
    b'{"inputs": "a", "x": {"y": 1, "y": 2}}',
    b'{"inputs": "a", "x": NaN}',
    b'{"inputs": "a", "x": 1e999}',
    b'{"inputs": "a", "extra": "' + b"x" * 5000 + b'"}',
    b'{"inputs": "a", "prompt_name": "' + b"x" * 5000 + b'", "normalize": false}',
    b'{"inputs": ["a", "b", "c", "d", "e", "f"]}',
    b'\xff{"inputs": "a"}',
]

#: Replies other than vectors: status, headers, body.
REPLIES = [
    (422, "", b'{"error": "too long", "error_type": "Tokenizer"}'),
    (422, "", b'{"error": "too long", "error_type": "no word!"}'),
    (413, "", b'{"error": "batch size 3 > maximum", "error_type": "Validation"}'),
    (400, "", b"not json"),
    (400, "", b'{"error": 5}'),
    (424, "", b'{"error": "backend", "error_type": "Backend"}'),
    (429, "Retry-After: 120\r\n", b'{"error": "overloaded", "error_type": "Overloaded"}'),
    (500, "", b"oops"),
    (404, "", b""),
    (302, "Location: http://elsewhere/\r\n", b""),
    (200, "", b"[[1,2]"),
    (200, "", b"[[1,2],[1,2],[1,2]]"),
    (200, "", b"[[]]"),
    (200, "", b"[[1,null]]"),
    (200, "", b'[["1"]]'),
    (200, "", b"[[[1]]]"),
    (200, "", b'{"embeddings": [[1]]}'),
]


class Recorder:
    """An upstream that notes each call's bytes and gives the reply it was told, or vectors of fixed digits."""

    def __init__(self) -> None:
        self.reply: tuple[int, str, bytes] | None = None
        self._upstream = ScriptedUpstream(TeiForm(info={}), faults.only_calls(self._answer)).start()
        self.url = self._upstream.url

    def close(self) -> None:
        self._upstream.stop()

    def forget(self) -> None:
        self._upstream.calls.clear()

    @property
    def seen(self) -> list[bytes]:
        """The bytes of each call, with HOST for the address of this upstream."""
        host = self.url.removeprefix("http://").encode()
        requests = [call.request for call in self._upstream.calls]
        return [request.head.replace(host, b"HOST") + request.body for request in requests]

    def _answer(self, exchange: Exchange) -> object:
        if self.reply is None:
            rows = [b"[%b, %b]" % (_digits(at), _digits(at + 1)) for at in range(len(exchange.inputs))]
            return faults.vectors(*rows)(exchange)
        status, headers, body = self.reply
        return faults.answer(body, status, *headers.splitlines())(exchange)


def _digits(at: int) -> bytes:
    return DIGITS[at % len(DIGITS)]


def record() -> list[dict[str, Any]]:
    """Return, for each case, what went upstream and what the client was answered."""
    upstream = Recorder()
    app = create_app(Settings(inference_url=(upstream.url,), inference_api_key="key", max_client_batch_size=5))
    service = app.extensions["service"]
    service.start()
    cases = [(body, None) for body in BODIES] + [(b'{"inputs": "a"}', reply) for reply in REPLIES]
    recorded = []
    try:
        with app.test_client() as client:
            for body, reply in cases:
                upstream.reply = reply
                upstream.forget()
                answer = client.post(
                    "/embed", data=body, content_type="application/json", headers={"X-Request-Id": "identity"}
                )
                recorded.append(
                    {
                        "body": body.decode("latin-1"),
                        "reply": None if reply is None else [reply[0], reply[1], reply[2].decode()],
                        "upstream": [each.decode("latin-1") for each in upstream.seen],
                        "status": answer.status_code,
                        "headers": sorted(name for name, _ in answer.headers),
                        "answer": answer.get_data().decode("latin-1"),
                    }
                )
                # Neither verdicts nor ejections of one case are to reach the next.
                _forget(service)
    finally:
        service.stop()
        upstream.close()
    return recorded


def _forget(service: Service) -> None:
    service.batcher.isolation.verdicts._known.clear()
    for each in service.pool._upstreams:
        each.breaker.succeeded()
        each.not_before = NOW
        service.pool._adapt(service.pool._clock.now())


if __name__ == "__main__":
    FILE.write_text(json.dumps(record(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
