"""Whatever the upstream does, each client is told the truth within its deadline, and the service goes on."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.concurrency import Nursery
from tests.support.service import Service, embed_request, eventually
from tests.support.upstream import ScriptedUpstream, TeiForm, faults, vector_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.answer import Answer
    from tests.support.upstream import Fault

DEADLINE = 0.6
HTML = b"<html><body>Bad Gateway</body></html>"


@pytest.fixture(scope="module")
def shared_upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def shared(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings: dict[str, Any] = {
        "request_timeout_ms": int(DEADLINE * 1000),
        "upstream_timeout_ms": 600,
        "unavailable_wait_ms": 0,
        "log_format": "json",
    }
    with Service(tmp_path_factory.mktemp("faults"), inference_url=shared_upstream.url, **settings) as service:
        yield service


@pytest.fixture
def upstream(shared_upstream: ScriptedUpstream) -> Iterator[ScriptedUpstream]:
    yield shared_upstream
    shared_upstream.fault = faults.ok


@pytest.fixture
def service(shared: Service, upstream: ScriptedUpstream) -> Iterator[Service]:
    """The shared service, which goes on as soon as the upstream is well again, or has been tried again."""
    before = shared.workers
    eventually(lambda: shared.embed("well").status == 200)
    yield shared
    upstream.fault = faults.ok
    assert shared.workers == before
    eventually(lambda: shared.embed("well again").body == b"[" + vector_for("well again") + b"]")


def refused(answer: Answer | None, status: int) -> str:
    message: str = refused_answer(answer, status).json["error"]
    return message


def refused_answer(answer: Answer | None, status: int) -> Answer:
    assert answer is not None
    assert answer.status == status, answer
    assert answer.took < DEADLINE + 0.4
    assert answer.headers["content-type"] == "application/json"
    assert answer.json.keys() == {"error", "error_type", "request_id"}
    assert ("retry-after" in answer.headers) == (status in {429, 503})
    return answer


def vectors(*texts: str) -> bytes:
    return b"[" + b",".join(map(vector_for, texts)) + b"]"


_numbers = itertools.count()


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (faults.hang, 504),
        (faults.drip_body, 504),
        (faults.close, 502),
        (faults.say(b"nonsense\r\n\r\n"), 502),
        (faults.half_a_body, 502),
        (faults.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[[0.1\r\n"), 502),
        (faults.bad_chunk_size, 502),
        (faults.no_framing, 502),
        (faults.last_answer(HTML, 200, "Content-Type: text/html"), 502),
        (faults.last_answer(b""), 502),
        (faults.last_answer(b"{}"), 502),
        (faults.last_answer(b"[]"), 502),
        (faults.last_answer(b"[[0.1],[0.2]]"), 502),
        (faults.last_answer(b"[[null]]"), 502),
        (faults.last_answer(b'[["0.1"]]'), 502),
        (faults.last_answer(b"[[NaN]]"), 502),
        (faults.last_answer(b"[[]]"), 502),
        (faults.last_answer(b"[[[0.1]]]"), 502),
        (faults.last_answer(b"[0.1]"), 502),
        (faults.last_answer(b"\x1f\x8b\x08", 200, "Content-Encoding: gzip"), 502),
        (faults.last_answer(HTML, 500), 502),
        (faults.last_answer(HTML, 502), 502),
        (faults.last_answer(b'{"error":"x","error_type":"Backend"}', 424), 424),
        (faults.last_answer(HTML, 404), 502),
        (faults.last_answer(b"", 307, "Location: /embed"), 502),
        (faults.last_answer(b"", 503), 503),
        (faults.last_answer(b"", 429), 429),
        (faults.last_answer(b'{"error":"too long","error_type":"Validation"}', 422), 422),
        (faults.last_answer(b'{"error":"too long","error_type":"Validation"}', 413), 413),
        (faults.last_answer(HTML, 400), 400),
    ],
)
def test_every_fault_has_its_status_within_the_deadline(
    service: Service, upstream: ScriptedUpstream, fault: Fault, status: int
) -> None:
    upstream.fault = fault
    # Each time another text: what was refused is remembered for a while.
    message = refused(service.embed(f"text {next(_numbers)}"), status)
    assert "<html>" not in message


def test_a_wrong_count_fails_every_request_of_the_batch(service: Service, upstream: ScriptedUpstream) -> None:
    upstream.fault = faults.last_answer(b"[" + b",".join([b"[0.1]"] * 7) + b"]")
    for answer in service.crowd([embed_request(["a", "b", "c"]), embed_request(["d", "e", "f"])]):
        refused(answer, 502)


def test_one_null_in_one_vector_fails_the_whole_request(service: Service, upstream: ScriptedUpstream) -> None:
    upstream.fault = faults.last_answer(b"[[0.1,0.2],[0.1,null]]")
    refused(service.embed(["a", "b"]), 502)


def test_a_client_alone_in_its_batch_is_told_the_upstreams_words(service: Service, upstream: ScriptedUpstream) -> None:
    upstream.fault = faults.last_answer(b'{"error":"`secret text` is too long","error_type":"Validation"}', 422)
    assert "secret text" in refused(service.embed("alone"), 422)
    assert "secret text" in refused(service.embed(["one", "client"]), 422)


def test_the_retry_after_of_a_busy_upstream_is_obeyed(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with Service(tmp_path, inference_url=upstream.url, request_timeout_ms=2000) as service:
        upstream.fault = faults.last_answer(b"", 429, "Retry-After: 9")
        calls = len(upstream.calls)
        for _ in range(3):
            assert 8 <= int(refused_answer(service.embed("a"), 429).headers["retry-after"]) <= 12
        assert len(upstream.calls) == calls + 1


def test_a_second_upstream_carries_on_when_one_goes_down(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with (
        ScriptedUpstream() as other,
        Service(tmp_path, inference_url=f"{upstream.url},{other.url}", log_format="json") as service,
    ):
        eventually(lambda: [each["ready"] for each in service.get("/health/ready").json["upstreams"]] == [True, True])
        for number in range(8):
            assert service.embed(f"both {number}").status == 200
        assert other.calls
        other.stop()
        texts = [f"text {number}" for number in range(100)]
        for text in texts:
            assert service.embed(text).body == vectors(text)
        eventually(lambda: [each["ready"] for each in service.get("/health/ready").json["upstreams"]] == [True, False])
        assert service.get("/health/ready").status == 200
        metrics = service.get("/metrics").body.decode()
        assert f'autobatch_upstream_up{{upstream="{other.url}"}} 0.0' in metrics
        assert 'autobatch_retries_total{reason="unavailable"}' in metrics
        other.calls.clear()
        other.start()
        eventually(lambda: service.embed("back").status == 200 and other.calls)


def test_a_request_with_a_short_deadline_is_answered_in_time_while_the_upstream_hangs(
    service: Service, upstream: ScriptedUpstream
) -> None:
    upstream.fault = faults.hang
    answer = service.embed("a", {"X-Request-Timeout-Ms": "100"})
    refused(answer, 504)
    assert answer.took < 0.4


def test_the_service_serves_others_while_some_calls_hang(service: Service, upstream: ScriptedUpstream) -> None:
    """Only the batch that was sent while the upstream hung fails."""
    upstream.calls.clear()
    upstream.fault = faults.hang
    with service.connect() as connection:
        connection.sendall(embed_request("unlucky"))
        upstream.wait_for_calls(1)
        upstream.fault = faults.ok
        assert service.embed("lucky").body == vectors("lucky")


def test_readiness_follows_the_upstream_down_and_up_and_liveness_does_not(
    service: Service, upstream: ScriptedUpstream
) -> None:
    eventually(lambda: service.get("/health/ready").status == 200)
    upstream.stop()
    try:
        refused(service.embed("a"), 503)
        eventually(lambda: service.get("/health/ready").status == 503)
        assert service.get("/health").status == 503
        assert service.get("/health/live").status == 200
    finally:
        upstream.start()
    eventually(lambda: service.embed("back").body == vectors("back"))
    eventually(lambda: service.get("/health/ready").status == 200)


def test_a_restarted_upstream_fails_no_request(service: Service, upstream: ScriptedUpstream) -> None:
    """The pooled connections are broken, and the pool replaces them before a request is sent."""
    service.crowd([embed_request(f"fill the pool {number}") for number in range(8)])
    upstream.stop()
    upstream.start()
    assert [service.embed(f"text {number}").status for number in range(4)] == [200] * 4


def test_an_upstream_that_was_down_from_the_start_is_found_when_it_comes(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    upstream = ScriptedUpstream(TeiForm({"model_id": "late", "max_client_batch_size": 4}))
    upstream.start().stop()
    folder = tmp_path_factory.mktemp("late")
    with Service(folder, inference_url=upstream.url, unavailable_wait_ms=0) as service:
        assert service.get("/health/live").status == 200
        assert service.get("/health/ready").status == 503
        refused(service.embed("a"), 503)
        with upstream:
            eventually(lambda: service.get("/health/ready").status == 200)
            eventually(lambda: "max_batch_size 32 -> 4" in service.log)
            assert service.embed([f"text {number}" for number in range(9)]).status == 200
            assert max(upstream.sizes) == 4


@pytest.mark.parametrize(("api", "seen"), [("tei", "is left out for a while"), ("auto", "is not ready")])
def test_a_request_waits_for_the_only_upstream_to_come_back(tmp_path: Path, api: str, seen: str) -> None:
    upstream = ScriptedUpstream()
    upstream.start().stop()
    answers: list[Answer | None] = []
    with Service(tmp_path, inference_url=upstream.url, upstream_api=api) as service, Nursery() as nursery:
        nursery.start(lambda: answers.append(service.embed("a")))
        eventually(lambda: seen in service.log)
        with upstream:
            eventually(lambda: answers)
    assert answers[0] is not None
    assert (answers[0].status, answers[0].body) == (200, vectors("a"))


def test_every_line_of_the_json_log_is_json(service: Service) -> None:
    assert "Traceback" not in service.log
    events = [line for line in service.log.splitlines() if line.startswith("{")]
    assert {"Booting" in json.loads(line)["message"] for line in events} == {True, False}
