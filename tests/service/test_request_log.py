"""`log_requests` makes the running service log each request and upstream call, as text or JSON, without its texts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.service import Service, eventually
from tests.support.upstream import ScriptedUpstream, TeiForm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(TeiForm()) as upstream:
        yield upstream


def ask(service: Service, text: str = "do not log me") -> int:
    return service.embed(text, {"X-Request-Id": "req-7"}).status


def test_requests_and_calls_are_lines_of_json_at_any_level(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"log_requests": "on", "log_format": "json", "log_level": "error"}
    with Service(tmp_path, inference_url=upstream.url, **settings) as service:
        assert ask(service) == 200
        assert ask(service, "") == 400

        def told() -> list[dict[str, Any]]:
            lines = [json.loads(line) for line in service.log.splitlines() if line.startswith("{")]
            return [line for line in lines if line["logger"] == "autobatch.requests"]

        lines = eventually(lambda: found if len(found := told()) >= 3 else None)
        assert "do not log me" not in service.log
    by_status = {line.get("status"): line for line in lines}
    assert by_status[200]["id"] == "req-7"
    assert (by_status[200]["route"], by_status[200]["batch_size"], by_status[200]["reason"]) == ("/embed", 1, "crowd")
    assert "batch_size" not in by_status[400]
    assert any(line["event"] == "call" and line["upstream"] == upstream.url for line in lines)


def test_by_default_no_request_is_logged(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with Service(tmp_path, inference_url=upstream.url) as service:
        assert ask(service) == 200
        assert ask(service) == 200
        assert "req-7" not in service.log
