"""The service finds out what its upstream speaks, says so in its banner, and speaks it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from tests.support.service import Service, eventually
from tests.support.upstream import ScriptedUpstream
from tests.support.upstream.forms import KserveForm, PlainForm, Reply, vector_for
from tests.support.upstream.forms.form import compact
from tests.upstream.dialects.test_openapi import TEXT, TEXTS, document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Encoder(PlainForm):
    """A plain server with names of its own, which documents itself as FastAPI does."""

    path: ClassVar[str] = "/encode"
    inputs_member: ClassVar[str] = "texts"
    pages: ClassVar[Mapping[str, Reply]] = {
        "/health": Reply(200, b"{}"),
        "/openapi.json": Reply(200, compact(document(encode={"texts": dict(TEXTS)}))),
    }

    def answer(self, vectors: Sequence[bytes]) -> bytes:
        return b'{"model":"m","vectors":[%b]}' % b",".join(vectors)


class OneByOne(Encoder):
    """Its route takes one text."""

    pages: ClassVar[Mapping[str, Reply]] = {
        "/health": Reply(200, b"{}"),
        "/openapi.json": Reply(200, compact(document(encode={"text": dict(TEXT)}))),
    }


class OneVector(Encoder):
    """It documents nothing, and answers a list with one vector."""

    pages: ClassVar[Mapping[str, Reply]] = {"/health": Reply(200, b"{}")}

    def answer(self, vectors: Sequence[bytes]) -> bytes:
        return vectors[0]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (KserveForm(), "speaks KServe v1 (GET /v1/models lists minilm): POST /v1/models/minilm:predict "),
        (Encoder(), 'POST /encode {"texts":["a","b"]}'),
    ],
    ids=lambda each: type(each).__name__,
)
def test_the_service_speaks_what_its_banner_says(form: Any, said: str, tmp_path: Path) -> None:
    with ScriptedUpstream(form) as upstream, Service(tmp_path, inference_url=upstream.url) as service:
        answer = service.embed(["a", "b"])
        assert (answer.status, answer.body) == (200, b"[%b,%b]" % (vector_for("a"), vector_for("b")))
        banner = next(line for line in service.log.splitlines() if line.startswith(f"  upstream {upstream.url}"))
        assert said in banner
        assert f"upstream {upstream.url} {banner.removeprefix(f'  upstream {upstream.url} ')}" in service.log
        assert service.get("/health/ready").status == 200


class Undocumented(Encoder):
    """It says nothing of itself."""

    pages: ClassVar[Mapping[str, Reply]] = {"/health": Reply(200, b"{}")}


def test_no_valid_text_is_refused_while_the_api_is_guessed_and_a_restart_as_another_server_is_noticed(
    tmp_path: Path,
) -> None:
    with ScriptedUpstream(Undocumented()) as upstream, Service(tmp_path, inference_url=upstream.url) as service:
        with ThreadPoolExecutor(16) as clients:
            answers = list(clients.map(lambda number: service.embed(f"text {number}"), range(64)))
        assert [answer.status for answer in answers] == [200] * 64
        assert [answer.body for answer in answers] == [b"[%b]" % vector_for(f"text {number}") for number in range(64)]
        upstream.stop()
        eventually(lambda: service.get("/health/ready").status == 503)
        upstream.form = KserveForm()
        upstream.start()
        eventually(lambda: service.embed("after").status == 200)
        assert service.get("/health/ready").status == 200
        assert "speaks KServe v1" in service.log


@pytest.mark.parametrize(
    ("form", "settings"),
    [(OneByOne(), {}), (OneVector(), {"upstream_api": "plain", "upstream_path": "/encode"})],
    ids=lambda each: type(each).__name__,
)
def test_a_server_that_takes_one_text_a_call_never_makes_the_service_ready(
    form: Any, settings: dict[str, Any], tmp_path: Path
) -> None:
    with ScriptedUpstream(form) as upstream, Service(tmp_path, inference_url=upstream.url, **settings) as service:
        eventually(lambda: "one text a call" in service.get("/health/ready").body.decode())
        answer = service.get("/health/ready")
        assert answer.status == 503
        (told,) = json.loads(answer.body)["upstreams"]
        assert "one text a call" in told["reason"]
        assert "one text a call" in service.log
