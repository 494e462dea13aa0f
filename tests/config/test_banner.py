"""The banner shows the settings in effect and their sources, and no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config import DECLARATIONS, Settings, banner, banner_members, effective_settings
from config.__main__ import main
from config.banner import upstream_line

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def row(settings: Settings, name: str) -> list[str]:
    """Return the words of one setting's line."""
    (line,) = (line for line in effective_settings(settings).splitlines() if line.split()[0] == name)
    return line.split()[1:]


def test_the_banner_names_version_and_address_and_every_setting() -> None:
    lines = banner(Settings(), version="1.2.3", url="http://127.0.0.1:3000").splitlines()
    assert lines[0] == "Auto-Batching Proxy 1.2.3 on http://127.0.0.1:3000"
    assert [line.split()[0] for line in lines[1:]] == [each.name for each in DECLARATIONS]


def test_only_values_that_are_not_the_default_show_their_source() -> None:
    sources = {"port": "environment PORT", "workers": "config.toml"}
    settings = Settings(port=8080, workers=1, sources=sources)
    assert row(settings, "port") == ["8080", "(environment", "PORT)"]
    assert row(settings, "workers") == ["1"]


def test_values_and_sources_are_aligned() -> None:
    settings = Settings(port=8080, batch_timing="fixed", sources={"port": "flag", "batch_timing": "flag"})
    lines = effective_settings(settings).splitlines()
    assert len({line.index("(flag)") for line in lines if "(flag)" in line}) == 1
    assert len({len(line) - len(line.split(None, 1)[1]) for line in lines}) == 1


def test_secrets_show_only_whether_they_are_set() -> None:
    settings = Settings(api_key="hush", sources={"api_key": "environment API_KEY"})
    assert row(settings, "api_key") == ["set", "(environment", "API_KEY)"]
    assert row(settings, "inference_api_key") == ["unset"]
    assert "hush" not in banner(settings, version="1", url="http://localhost")


def test_derived_threads_are_shown_as_the_number_they_are() -> None:
    assert row(Settings(max_concurrent_requests=64), "threads") == ["144", "(derived)"]
    assert row(Settings(threads=600), "threads") == ["600", "(set", "in", "code)"]


def test_as_members_the_settings_are_values_and_secrets_are_words() -> None:
    settings = Settings(port=8080, api_key="hush", inference_url=("http://a",), sources={"port": "flag --port"})
    members = banner_members(settings, version="1.2.3", url="http://127.0.0.1:8080")
    assert (members["version"], members["url"]) == ("1.2.3", "http://127.0.0.1:8080")
    assert members["settings"].keys() == {each.name for each in DECLARATIONS}
    assert members["settings"]["port"] == 8080
    assert members["settings"]["inference_url"] == ("http://a",)
    assert (members["settings"]["api_key"], members["settings"]["inference_api_key"]) == ("set", "unset")
    assert (members["settings"]["threads"], members["sources"]["threads"]) == (592, "derived")
    assert members["sources"]["port"] == "flag --port"
    assert "workers" not in members["sources"]
    assert "hush" not in str(members)


def test_the_new_settings_are_shown() -> None:
    assert row(Settings(), "limit_request_field_size") == ["8190"]
    assert row(Settings(), "cors_allow_origin") == ["no", "CORS"]
    assert row(Settings(cors_allow_origin=("*",)), "cors_allow_origin")[0] == "*"


def test_the_upstream_is_shown_by_name() -> None:
    assert row(Settings(), "inference_url") == ["embedded", "server"]
    assert row(Settings(inference_url=("http://a", "http://b")), "inference_url")[:2] == ["http://a,", "http://b"]


def test_a_command_prints_the_settings_in_effect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("port = 1")
    assert main(["--config", str(path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["port", "1", f"({path})"] in lines


def test_a_command_reports_wrong_settings_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "x"]) == 1
    assert 'port = "x" (flag --port)' in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "--write-docs" in capsys.readouterr().out


def test_what_an_upstream_speaks_is_said_in_one_line() -> None:
    assert upstream_line("http://a", "speaks\nTEI\x1b") == "  upstream http://a speaks\\nTEI\\x1b"


def test_what_upstreams_speak_is_a_member_where_it_is_known() -> None:
    assert "upstreams" not in banner_members(Settings(), version="1", url="http://a")
    members = banner_members(Settings(), version="1", url="http://a", upstreams={"http://b": "speaks TEI"})
    assert members["upstreams"] == {"http://b": "speaks TEI"}
