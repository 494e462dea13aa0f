"""What users of a real client see, and what it does, when the service cannot answer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients import installed
from tests.clients.installed import Client, MissingError, python_command
from tests.support.service import GUNICORN, Service
from tests.support.upstream import ScriptedUpstream

MODEL = "any"


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, Any]:
    """What openai's SDK told of a service with a deadline of 3 s whose upstream stays silent, by the case."""
    try:
        command = python_command(Client("openai", "openai_in_trouble.py"))
    except MissingError as missing:
        pytest.skip(str(missing))
    with ScriptedUpstream() as upstream:
        settings: dict[str, Any] = {"inference_url": upstream.url, "request_timeout_ms": 3000}
        with Service(tmp_path_factory.mktemp("troubles"), command=GUNICORN, **settings) as service:
            upstream.gate.clear()
            lines = installed.run(command, f"http://127.0.0.1:{service.port}", MODEL)
            upstream.gate.set()
    return {line["case"]: line for line in lines}


def test_openais_sdk_does_not_repeat_a_call_whose_deadline_has_passed(told) -> None:
    raised, calls, took = told["deadline of the service"]["value"]

    assert (raised, calls) == ("InternalServerError", 1)
    assert 2.5 < took < 6.0


def test_the_time_out_that_openais_sdk_tells_shortens_the_deadline(told) -> None:
    raised, calls, took = told["time-out of the client"]["value"]

    assert (raised, calls) == ("InternalServerError", 1)
    assert took < 2.5


def test_openais_sdk_reads_the_services_words(told) -> None:
    assert told["words"]["class"] == "InternalServerError"
    assert "504" in told["words"]["refusal"]
    assert "deadline" in told["words"]["refusal"]
