"""A line of the log says what to look at, by what the reason says."""

from __future__ import annotations

import pytest

from instrumentation.logs import advice

KEY = "check INFERENCE_API_KEY"
PATH = "check the path of inference_url and which API the server speaks"
TLS = "check whether inference_url is to begin with http or https, and the certificate"
NAME = "check the host name in inference_url"
RUNS = "check that the server runs and listens at that address"
ANYTHING = "see the log of the upstream"


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("status 401", KEY),
        ("calls are answered with status 403: Forbidden", KEY),
        ("status 407", KEY),
        ("status 308, which leads to 'https://elsewhere/embed'", "give that address as inference_url"),
        ("status 404", PATH),
        ("status 405: Method Not Allowed", PATH),
        ("GET /health is answered with status 404", PATH),
        ("the server speaks TLS: [SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", TLS),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate", TLS),
        ("[Errno -2] Name or service not known", NAME),
        ("the name 'no-such-host' cannot be resolved", NAME),
        ("[Errno 111] Connection refused", RUNS),
        ("[Errno 113] No route to host: unreachable", RUNS),
        ("no answer in time", RUNS),
        ("it serves 'a', and http://1 serves 'b'", "give upstreams that serve one model"),
        ("its vectors have 3 numbers, and those of another upstream 2", "give upstreams that serve one model"),
        ("status 500", ANYTHING),
        ("status 4010", ANYTHING),
        ("", ANYTHING),
    ],
)
def test_the_advice_fits_the_reason(reason: str, told: str) -> None:
    assert advice(reason) == told
