"""A client's request id and trace go upstream if they are well formed, and nothing else of its headers does."""

from __future__ import annotations

import pytest

from api.trace import trace_headers, traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
WELL_FORMED = f"00-{TRACE}-{SPAN}-01"


def test_a_request_id_and_a_trace_go_upstream_as_lines() -> None:
    environ = {"HTTP_X_REQUEST_ID": "req-1", "HTTP_TRACEPARENT": WELL_FORMED, "HTTP_COOKIE": "a=b"}
    assert trace_headers(environ) == f"X-Request-Id: req-1\r\ntraceparent: {WELL_FORMED}\r\n".encode()


@pytest.mark.parametrize("asked", [None, "", "a b", "x\r\nHost: evil", "ä", "a" * 65])
def test_an_identity_of_ours_goes_upstream_where_the_clients_own_may_do_harm(asked: str | None) -> None:
    environ = {} if asked is None else {"HTTP_X_REQUEST_ID": asked}
    line = trace_headers(environ)
    assert line.startswith(b"X-Request-Id: ")
    assert line.endswith(b"\r\n")
    assert line.count(b"\r\n") == 1
    assert line != b"X-Request-Id: \r\n"
    assert trace_headers(environ) == line


@pytest.mark.parametrize("value", [WELL_FORMED, f"00-{TRACE}-{SPAN}-00", f"01-{TRACE}-{SPAN}-ff"])
def test_a_trace_of_the_w3c_form_goes_upstream(value: str) -> None:
    assert traceparent({"HTTP_TRACEPARENT": value}) == f"traceparent: {value}\r\n".encode()


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"{WELL_FORMED}-more",
        f"{WELL_FORMED}\n",
        f"{WELL_FORMED}\r\nHost: evil",
        f"{WELL_FORMED},{WELL_FORMED}",
        f"\u0660\u0660-{TRACE}-{SPAN}-01",
    ],
)
def test_any_other_trace_stays_here(value: str) -> None:
    assert traceparent({"HTTP_TRACEPARENT": value}) == b""
