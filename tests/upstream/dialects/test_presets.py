"""What is known of hosted servers by the names of their hosts."""

from __future__ import annotations

import pytest

from upstream.dialects.presets import UNKNOWN_HOST, preset_of


@pytest.mark.parametrize(
    ("url", "most_items", "most_tokens"),
    [
        ("https://api.openai.com/v1", 2048, 300_000),
        ("https://API.OpenAI.com./v1", 2048, 300_000),
        ("https://api.openai.com:443", 2048, 300_000),
        ("https://mine.openai.azure.com/openai/deployments/d?api-version=2024-10-21", 2048, None),
        ("https://mine.cognitiveservices.azure.com", 2048, None),
        ("https://mine.services.ai.azure.com/models", 2048, None),
        ("https://api.voyageai.com/v1", 1000, 120_000),
        ("https://api.jina.ai/v1", 2048, None),
        ("https://api.mistral.ai/v1", 512, 16_384),
        ("https://api.deepinfra.com/v1/openai", 1024, None),
        ("https://api.scaleway.ai/v1", 2048, None),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", 10, None),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", 10, None),
        ("https://generativelanguage.googleapis.com/v1beta/openai", 100, None),
        ("https://europe-west4-aiplatform.googleapis.com/v1", 250, 20_000),
        ("https://aiplatform.googleapis.com/v1", 250, 20_000),
        ("https://api.cohere.ai/compatibility/v1", 96, None),
        ("https://api.cloudflare.com/client/v4/accounts/a/ai/v1", 100, None),
        ("https://openrouter.ai/api/v1", None, None),
        ("https://api.together.xyz/v1", None, None),
    ],
)
def test_a_call_may_hold_what_the_host_takes(url: str, most_items: int | None, most_tokens: int | None) -> None:
    assert preset_of(url)[:2] == (most_items, most_tokens)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
        "http://localhost",
        "http://tei.models.svc",
        "https://api.openai.com.evil.example/v1",
        "https://notapi.openai.com.example",
        "https://myopenai.azure.com",
        "unix:///run/x",
        "",
    ],
)
def test_another_host_has_no_limits_that_are_known(url: str) -> None:
    assert preset_of(url) is UNKNOWN_HOST


@pytest.mark.parametrize(
    "url", ["https://generativelanguage.googleapis.com/v1beta/openai", "https://openrouter.ai/api/v1"]
)
def test_hosts_that_refuse_base64_are_known(url: str) -> None:
    assert not preset_of(url).takes_base64


@pytest.mark.parametrize(
    ("url", "has"), [("https://a.openai.azure.com", True), ("https://api.openai.com", False), ("http://server", False)]
)
def test_azure_has_its_key_in_a_header_of_its_own(url: str, has: bool) -> None:
    assert preset_of(url).has_key_header is has
