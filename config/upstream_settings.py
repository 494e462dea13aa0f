"""The settings of the upstreams, declared as ``config/settings.py`` declares all others."""

from __future__ import annotations

from dataclasses import dataclass

from config.declare import LONGEST_TIMEOUT_MS, choice, text, urls, whole_number
from config.fields import CertificateFile, JsonObject, MemberName, MemberPath, ModelName, UpstreamPath

_UPSTREAM = "Upstream"


@dataclass(frozen=True, slots=True, repr=False)
class UpstreamSettings:
    """Where the upstreams are, what they speak, and how calls reach them. A part of ``Settings``."""

    inference_url: tuple[str, ...] = urls(
        _UPSTREAM,
        "http://127.0.0.1:8080",
        "embedded server",
        "Base URL of the embedding server, or several that serve the same model. Unset, the proxy starts its own "
        "embedded server.",
    )
    upstream_api: str = choice(
        _UPSTREAM,
        "auto",
        ("auto", "tei", "openai", "kserve", "plain"),
        "The API that the upstream speaks: Text Embeddings Inference, OpenAI, KServe v1, or a plain one of its own (a "
        "list of texts in, as many vectors out). auto asks the server; the log says what was found.",
    )
    upstream_model: str = text(
        _UPSTREAM,
        ModelName(),
        "the client's, or the only one",
        "The model that an upstream which speaks OpenAI or KServe is asked for.",
    )
    upstream_path: str = text(
        _UPSTREAM,
        UpstreamPath(),
        "found out",
        "The path below inference_url that takes the calls, if it is a plain upstream's or an unusual one of OpenAI's.",
    )
    upstream_input_field: str = text(
        _UPSTREAM, MemberName(), "found out", "The member of a plain upstream's request that holds the list of texts."
    )
    upstream_output_field: str = text(
        _UPSTREAM,
        MemberPath(),
        "found out",
        "Where a plain upstream's answer holds the vectors: a member, or several with dots between them (result.data).",
    )
    upstream_extra: str = text(
        _UPSTREAM, JsonObject(), "none", "Members that stand in each request to a plain upstream beside the texts."
    )
    upstream_ca_file: str = text(
        _UPSTREAM,
        CertificateFile(),
        "the system's alone",
        "Certificates that an https upstream is trusted by, beside those of the system: that of a private authority.",
    )
    upstream_parallelism: int = whole_number(
        _UPSTREAM,
        1,
        (1, 64),
        "batches",
        "How many batches an upstream really works on at once: where the adaptive timing starts to learn it.",
    )
    upstream_requests_per_minute: int = whole_number(
        _UPSTREAM,
        0,
        (0, 100_000_000),
        "requests",
        "Calls that each upstream may be sent in a minute. 0: as many as its x-ratelimit headers tell, if it has any.",
    )
    upstream_tokens_per_minute: int = whole_number(
        _UPSTREAM,
        0,
        (0, 100_000_000_000),
        "tokens",
        "Tokens that each upstream may be sent in a minute, estimated as UTF-8 bytes / 4, corrected by what it counts. "
        "0: as many as its x-ratelimit headers tell, if it has any.",
    )
    upstream_idle_ms: int = whole_number(
        _UPSTREAM,
        4000,
        (1, LONGEST_TIMEOUT_MS),
        "ms",
        "A connection to an upstream that was idle for longer is closed and not used again: less than the time after "
        "which the server, or a gateway or NAT before it, forgets the connection (5 s in uvicorn and Node).",
    )
    embedded_threads: int = whole_number(
        _UPSTREAM, 2, (1, 64), "threads", "Threads that the embedded server's model computes with."
    )
