"""Whatever bodies the document allows, and many others: no 5xx, no status and no answer that it does not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from config import Settings
from tests.support.tasks import TaskUpstream
from upstream.dialects.dialect import UpstreamInfo
from wiring.service import Service

if TYPE_CHECKING:
    from schemathesis import Case

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

_upstream = TaskUpstream()
_upstream.known = UpstreamInfo("a-model", 32, 512, raw=b'{"model_id":"a-model","max_client_batch_size":32}')
_service = Service(Settings(batch_timing="fixed", max_wait_time_ms=0), endpoints=[_upstream])
schema = schemathesis.openapi.from_wsgi("/openapi.json", _service.app)


@pytest.fixture(scope="module", autouse=True)
def _running():
    _service.batcher.start()
    yield
    _service.batcher.stop(5)


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_the_document_tells(case: Case) -> None:
    headers: Any = case.headers
    if headers and str(headers.get("X-Request-Timeout-Ms", "")).isdigit():
        headers["X-Request-Timeout-Ms"] = "30000"  # one that is too short is 504, which is a server error here
    case.call_and_validate(checks=CHECKS)
