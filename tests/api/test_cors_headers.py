"""Which CORS headers an answer carries: those of the settings, never anything of a request."""

from __future__ import annotations

import subprocess
import sys

import pytest

from api.cors_headers import PREFLIGHT, CorsHeaders
from api.forward import PASSED_ON

ONE, OTHER = "https://app.example.com", "http://localhost:5173"


@pytest.mark.parametrize("origin", [None, ONE, "null", "x\r\nSet-Cookie: a"])
@pytest.mark.parametrize("origins", [["*"], [ONE, "*"]])
def test_a_star_lets_every_page_read(origins: list[str], origin: str | None) -> None:
    pairs = dict(CorsHeaders(origins).of(origin))
    assert pairs["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in pairs


@pytest.mark.parametrize("origin", [ONE, OTHER])
def test_a_listed_origin_is_named(origin: str) -> None:
    pairs = dict(CorsHeaders([ONE, OTHER]).of(origin))
    assert (pairs["Access-Control-Allow-Origin"], pairs["Vary"]) == (origin, "Origin")
    told = set(pairs["Access-Control-Expose-Headers"].split(", "))
    assert {"X-Batch-Size", "X-Batch-Class", "X-Batch-Shared", "X-Request-Id", "Retry-After"} <= told


def test_a_page_may_read_when_to_come_again_and_what_it_cost() -> None:
    exposed = dict(CorsHeaders(["*"]).of(ONE))["Access-Control-Expose-Headers"].split(", ")
    assert {"Retry-After-Ms", "X-Should-Retry"} <= set(exposed)
    assert {name.title() for name in PASSED_ON} <= set(exposed)


def test_a_page_may_send_the_headers_that_rank_a_request() -> None:
    allowed = dict(PREFLIGHT)["Access-Control-Allow-Headers"].split(", ")
    assert {"X-Priority", "X-Max-Wait-Ms", "X-Fairness-Id", "X-Api-Key"} <= set(allowed)


@pytest.mark.parametrize(
    "origin",
    [None, "", "null", "*", ONE + "/", ONE.upper(), ONE + ".evil", "http://app.example.com", f"{ONE}, {OTHER}"],
)
def test_another_origin_is_not_named_and_caches_are_told_so(origin: str | None) -> None:
    assert CorsHeaders([ONE, OTHER]).of(origin) == (("Vary", "Origin"),)


def test_an_answer_to_what_was_not_read_names_the_only_origin_there_is() -> None:
    assert dict(CorsHeaders(["*"]).unread)["Access-Control-Allow-Origin"] == "*"
    assert dict(CorsHeaders([ONE]).unread)["Access-Control-Allow-Origin"] == ONE
    assert CorsHeaders([ONE, OTHER]).unread == (("Vary", "Origin"),)


def test_credentials_are_never_allowed() -> None:
    for cors in (CorsHeaders(["*"]), CorsHeaders([ONE])):
        assert "Access-Control-Allow-Credentials" not in dict(cors.of(ONE))


def test_the_headers_need_no_framework() -> None:
    show = "import sys, api.cors_headers; print(sorted({'flask', 'werkzeug', 'gunicorn'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
