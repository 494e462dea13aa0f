"""Behind a real socket: an upstream's limits pace the calls, and a quota that is used up is told in its own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.processes import fetch_json, module_command, running
from tests.endurance import governor
from tests.support.service import Service

if TYPE_CHECKING:
    from pathlib import Path


def test_nearly_all_calls_of_a_limit_are_used_and_neither_client_nor_call_is_refused() -> None:
    options = ["--seconds", "20", "--calls", "120", "--tokens", "200000", "--window", "10", "--clients", "20"]
    assert governor.main(options) == 0


def test_a_used_up_quota_is_answered_in_the_upstreams_words_without_asking_it_again(tmp_path: Path) -> None:
    command = module_command("benchmarks.upstream", "--port", "{port}", "--quota-calls", "1")
    settings: dict[str, Any] = {"upstream_api": "openai", "log_level": "info"}
    with running("upstream", command, ready_path="/health") as upstream:
        settings["inference_url"] = f"{upstream.url}/v1"
        with Service(tmp_path, **settings) as service:
            answers = [service.embed(f"text {number}") for number in range(5)]
            metrics = service.get("/metrics").body.decode()
        refused = fetch_json(upstream.url, "/limits")["refused"]
    assert [each.status for each in answers] == [200, 429, 429, 429, 429]
    assert all(b"You exceeded your current quota" in each.body for each in answers[1:])
    assert all(170 < int(each.headers["retry-after"]) < 190 for each in answers[1:])
    assert refused == {"quota": 1}
    assert "no quota left" in service.log
    assert "autobatch_upstream_paused_seconds_total" in metrics
