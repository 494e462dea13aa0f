"""Certificates and names are checked; a failed handshake is told in words that name no host."""

from __future__ import annotations

import ssl

import pytest

from upstream.tls import trusting_context, words_for


def test_certificates_and_host_names_are_checked() -> None:
    context = trusting_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert not context.hostname_checks_common_name
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) > 50


def unverified(message: str) -> ssl.SSLCertVerificationError:
    problem = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {message}")
    problem.verify_message = message
    return problem


def failed(reason: str) -> ssl.SSLError:
    problem = ssl.SSLError(1, f"[SSL: {reason}] (_ssl.c:1006)")
    problem.reason = reason
    return problem


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (
            unverified("unable to get local issuer certificate"),
            "certificate verify failed (unable to get local issuer certificate)",
        ),
        (unverified("certificate has expired"), "certificate verify failed (certificate has expired)"),
        (
            unverified("Hostname mismatch, certificate is not valid for 'tei.internal'."),
            "certificate verify failed (hostname mismatch)",
        ),
        (
            unverified("IP address mismatch, certificate is not valid for '10.1.2.3'."),
            "certificate verify failed (IP address mismatch)",
        ),
        (ssl.SSLCertVerificationError(), "certificate verify failed"),
        (failed("WRONG_VERSION_NUMBER"), "the upstream does not speak TLS on this port"),
        (failed("HTTP_REQUEST"), "the upstream does not speak TLS on this port"),
        (failed("TLSV1_ALERT_PROTOCOL_VERSION"), "tlsv1 alert protocol version"),
        (failed("SSLV3_ALERT_HANDSHAKE_FAILURE"), "sslv3 alert handshake failure"),
        (ssl.SSLEOFError(8, "EOF occurred"), "the upstream closed the connection during the handshake"),
        (ConnectionResetError(104, "reset by 10.1.2.3"), "the upstream closed the connection during the handshake"),
        (BrokenPipeError(), "the upstream closed the connection during the handshake"),
        (ValueError("server_hostname cannot be empty"), "its host name is none that a certificate can have"),
        (ssl.SSLError(1, "unknown"), "the connection failed"),
        (OSError(5, "Input/output error"), "the connection failed"),
    ],
)
def test_a_failure_of_tls_is_told_without_the_host(problem: Exception, words: str) -> None:
    assert words_for(problem) == words
