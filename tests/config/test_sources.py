"""Settings come from flags, environment, file and defaults, and every mistake is reported at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config import SettingsError, load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from config import Settings


class Sources:
    """The three places settings come from, with an empty file to begin with."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.toml("")

    def toml(self, text: str) -> Sources:
        self.path.write_text(text, encoding="utf-8")
        return self

    def load(self, *argv: str, environ: Mapping[str, str] | None = None) -> Settings:
        return load_settings(argv, environ or {}, self.path)

    def problems(self, *argv: str, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            self.load(*argv, environ=environ)
        lines = [str(problem) for problem in caught.value.problems]
        assert all(line in str(caught.value) for line in lines)
        return lines

    def problem(self, *argv: str, environ: Mapping[str, str] | None = None) -> str:
        (only,) = self.problems(*argv, environ=environ)
        return only


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path / "config.toml")


# Precedence


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(sources: Sources) -> None:
    assert sources.load().max_batch_size == 32
    sources.toml("max_batch_size = 2")
    assert sources.load().max_batch_size == 2
    environ = {"MAX_BATCH_SIZE": "3"}
    assert sources.load(environ=environ).max_batch_size == 3
    assert sources.load("--max-batch-size", "4", environ=environ).max_batch_size == 4


def test_every_value_remembers_its_source(sources: Sources) -> None:
    sources.toml("port = 1\nworkers = 2\nthreads = 600")
    settings = sources.load("--port=9", environ={"WORKERS": "3"})
    assert settings.source("port") == "flag --port"
    assert settings.source("workers") == "environment WORKERS"
    assert settings.source("threads") == "config.toml"
    assert settings.source("host") == "default"


def test_the_process_environment_is_read_unless_another_is_given(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_BATCH_SIZE", "7")
    monkeypatch.delenv("CONFIG_FILE", raising=False)
    assert load_settings((), None, sources.path).max_batch_size == 7


def test_unknown_environment_variables_are_ignored(sources: Sources) -> None:
    assert sources.load(environ={"MAX_BACH_SIZE": "7", "PATH": "/bin"}).max_batch_size == 32


def test_the_last_of_a_repeated_flag_counts(sources: Sources) -> None:
    assert sources.load("--port", "1", "--port", "2").port == 2


# The file


def test_a_flag_or_variable_names_another_file_and_the_flag_wins(sources: Sources, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.toml").write_text(f"port = {number}")
    environ = {"CONFIG_FILE": str(tmp_path / "1.toml")}
    assert sources.load(environ=environ).port == 1
    settings = sources.load("--config", str(tmp_path / "2.toml"), environ=environ)
    assert (settings.port, settings.source("port")) == (2, str(tmp_path / "2.toml"))


def test_the_default_file_may_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("config.sources.DEFAULT_FILE", tmp_path / "config.toml")
    assert load_settings((), {}).port == 3000
    (tmp_path / "config.toml").write_text("port = 1")
    assert load_settings((), {}).port == 1


@pytest.mark.parametrize(("argv", "environ"), [(("--config", "no.toml"), {}), ((), {"CONFIG_FILE": "no.toml"})])
def test_a_named_file_must_exist(sources: Sources, argv: Sequence[str], environ: dict[str, str]) -> None:
    problem = sources.problem(*argv, environ=environ)
    assert problem.startswith("no.toml (named by ")
    assert "No such file" in problem


@pytest.mark.parametrize(("argv", "environ"), [(("--config=",), {}), ((), {"CONFIG_FILE": ""})])
def test_an_empty_file_name_is_not_taken_for_none(
    sources: Sources, argv: Sequence[str], environ: dict[str, str]
) -> None:
    assert "cannot be read" in sources.problem(*argv, environ=environ)


def test_a_folder_is_not_a_settings_file(sources: Sources, tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in sources.problem("--config", str(tmp_path))


def test_invalid_toml_is_reported_with_its_line(sources: Sources) -> None:
    problem = sources.toml("port = 1\nhost =\n").problem()
    assert problem.startswith("config.toml (")
    assert "is not TOML" in problem
    assert "line 2" in problem


def test_a_file_that_is_not_utf8_is_reported_with_its_line(sources: Sources) -> None:
    sources.path.write_bytes(b'port = 1\nhost = "\xff"\n')
    assert "is not UTF-8 text (at line 2)" in sources.problem()


def test_a_byte_order_mark_is_ignored(sources: Sources) -> None:
    sources.path.write_bytes(b"\xef\xbb\xbfport = 1\n")
    assert sources.load().port == 1


# Unknown names


@pytest.mark.parametrize("key", ["max_bach_size", "MAX_BATCH_SIZE", "max-batch-size"])
def test_an_unknown_key_stops_the_start_and_suggests_the_right_one(sources: Sources, key: str) -> None:
    problem = sources.toml(f"{key} = 8").problem()
    assert problem == f"{key} (config.toml): unknown setting; did you mean max_batch_size?"


def test_a_key_unlike_any_other_gets_no_suggestion(sources: Sources) -> None:
    assert sources.toml("zzz = 8").problem() == "zzz (config.toml): unknown setting"


def test_a_table_is_refused_because_settings_stand_at_the_top_level(sources: Sources) -> None:
    assert "top level" in sources.toml("[batching]\nmax_batch_size = 8").problem()


@pytest.mark.parametrize("argv", [("--max_bach_size", "8"), ("--max-bach-size=8",), ("--max-batch-siz", "8")])
def test_an_unknown_flag_stops_the_start_and_suggests_the_right_one(sources: Sources, argv: Sequence[str]) -> None:
    problem = sources.problem(*argv)
    assert problem == f"flag {argv[0].partition('=')[0]}: unknown; did you mean --max-batch-size?"


def test_flags_are_not_abbreviated(sources: Sources) -> None:
    assert "flag --max-batch-s: unknown" in sources.problem("--max-batch-s", "8")


@pytest.mark.parametrize("flag", ["--api-keyhush", "--inference-api-key:hush", "--api-keyhush=x"])
def test_text_right_behind_a_secrets_flag_is_not_shown(sources: Sources, flag: str) -> None:
    problem = sources.problem(flag)
    assert "api-key...: unknown" in problem
    assert "hush" not in problem


def test_a_flag_needs_its_value(sources: Sources) -> None:
    assert sources.problems("--port", "--workers", "2", "--config") == [
        "flag --config: needs a value",
        "flag --port: needs a value",
    ]


def test_a_stray_word_is_refused_but_not_repeated(sources: Sources) -> None:
    assert sources.problem("hush") == "command line: a word that belongs to no flag"


def test_what_argparse_cannot_read_does_not_exit(sources: Sources) -> None:
    assert "--help" in sources.problem("--help=me")


# Types, ranges and choices


@pytest.mark.parametrize("text", ["", " 8", "8 ", "+8", "08", "8.0", "8e1", "1_0", "0x8", "٨", "true", "9" * 5000])
def test_numbers_in_the_environment_are_parsed_strictly(sources: Sources, text: str) -> None:
    problem = sources.problem(environ={"MAX_BATCH_SIZE": text})
    assert problem.startswith("max_batch_size = ")
    assert problem.endswith("(environment MAX_BATCH_SIZE): must be a whole number, 1 to 2048 items")
    assert len(problem) < 300


@pytest.mark.parametrize("value", ['"32"', "32.0", "true", "[32]", "1979-05-27", "{}"])
def test_a_wrong_type_in_the_file_is_refused(sources: Sources, value: str) -> None:
    problem = sources.toml(f"max_batch_size = {value}").problem()
    assert problem.endswith("(config.toml): must be a whole number, 1 to 2048 items")


def test_a_value_out_of_range_names_key_value_source_and_range(sources: Sources) -> None:
    assert sources.problem("--max-batch-size", "-1") == (
        "max_batch_size = -1 (flag --max-batch-size): must be a whole number, 1 to 2048 items"
    )


def test_a_choice_is_one_of_its_words_in_any_case(sources: Sources) -> None:
    assert sources.load(environ={"LOG_LEVEL": "INFO"}).log_level == "info"
    assert sources.problem(environ={"LOG_LEVEL": "loud"}) == (
        'log_level = "loud" (environment LOG_LEVEL): must be debug, info, warning or error'
    )
    assert "must be adaptive or fixed" in sources.toml("batch_timing = 1").problem()


@pytest.mark.parametrize(
    ("text", "host"),
    [("0.0.0.0", "0.0.0.0"), ("::", "::"), ("[::1]", "::1"), ("localhost", "localhost"), ("a-b.c_d", "a-b.c_d")],
)
def test_a_host_is_a_name_or_an_address(sources: Sources, text: str, host: str) -> None:
    assert sources.load("--host", text).host == host


@pytest.mark.parametrize("text", ["", "a b", "localhost:80", "http://a", "a."])
def test_other_text_is_refused_as_a_host(sources: Sources, text: str) -> None:
    assert "must be a host name or IP address" in sources.problem("--host", text)


# Upstream URLs


def test_urls_come_as_text_or_as_a_list(sources: Sources) -> None:
    assert sources.load(environ={"INFERENCE_URL": "http://a:8080/"}).inference_url == ("http://a:8080",)
    assert sources.toml('inference_url = ["http://a:8080"]').load().inference_url == ("http://a:8080",)
    assert sources.toml('inference_url = "http://[::1]:80/"').load().inference_url == ("http://[::1]:80",)
    assert sources.load("--inference-url=https://b/base").inference_url == ("https://b/base",)
    azure = "https://a.openai.azure.com/openai/deployments/d?api-version=2024-10-21"
    assert sources.load("--inference-url", azure.replace("?", "/?")).inference_url == (azure,)


def test_several_upstreams_may_be_given_in_each_way(sources: Sources) -> None:
    urls = ("http://a", "https://b")
    assert sources.load(environ={"INFERENCE_URL": "http://a,https://b"}).inference_url == urls
    assert sources.load("--inference-url", "http://a,https://b").inference_url == urls
    assert sources.toml('inference_url = ["http://a", "https://b"]').load().inference_url == urls


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("ftp://a", "must start with http:// or https://"),
        ("localhost:8080", "must start with http:// or https://"),
        ("http://", "has no host"),
        ("http://:80", "has no host"),
        ("http://a:99999", "cannot be read"),
        ("http://a:b", "cannot be read"),
        ("http://[::1", "cannot be read"),
        ("http://a:0", "port 0"),
        ("http://a b", "characters"),
        ("http://a\\b", "characters"),
        ("http://é", "characters"),
        ("http://a?", "query or fragment"),
        ("http://a#b", "query or fragment"),
        ("http://a?api-key=1", "a key in its query"),
        ("http://a?sig=1", "a key in its query"),
        ("http://a,", "URL 2"),
        ("http://a,http://a/", "names one URL twice"),
        ("", "leave it out to use the embedded server"),
    ],
)
def test_a_url_that_cannot_work_is_refused(sources: Sources, url: str, fault: str) -> None:
    assert fault in sources.problem(environ={"INFERENCE_URL": url})


@pytest.mark.parametrize("value", ["[]", "[1]", "8080", '["http://a", ["http://b"]]'])
def test_a_list_of_urls_holds_urls(sources: Sources, value: str) -> None:
    assert sources.toml(f"inference_url = {value}").problem().startswith("inference_url = ")


@pytest.mark.parametrize("url", ["http://me:hush@a", "http://me:hu,sh@a", "http://a?key=hush", "http://a/#hush"])
def test_a_password_in_a_url_is_refused_and_not_repeated(sources: Sources, url: str) -> None:
    message = "\n".join(sources.problems(environ={"INFERENCE_URL": url}))
    assert "***" in message
    assert "hu" not in message


# Origins


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "https://app.example.com", "http://localhost:5173", "http://[::1]:80", "chrome-extension://abc"],
)
def test_an_origin_is_what_browsers_send(sources: Sources, origin: str) -> None:
    assert sources.load("--cors-allow-origin", origin).cors_allow_origin == (origin,)


def test_several_origins_may_be_given_in_each_way_and_each_counts_once(sources: Sources) -> None:
    origins = ("https://a", "http://b:1")
    assert sources.load(environ={"CORS_ALLOW_ORIGIN": "https://a, http://b:1,https://a"}).cors_allow_origin == origins
    assert sources.load("--cors-allow-origin", "https://a", "--cors-allow-origin", "http://b:1").cors_allow_origin == (
        origins
    )
    assert sources.toml('cors_allow_origin = ["https://a", "http://b:1"]').load().cors_allow_origin == origins


@pytest.mark.parametrize(
    "text",
    ["", "https://a/", "https://a/path", "a.example.com", "https://", "https://a:port", "https://a,", "HTTP://A"],
)
def test_other_text_is_refused_as_an_origin(sources: Sources, text: str) -> None:
    assert "must be * or origins like https://app.example.com" in sources.problem("--cors-allow-origin", text)


@pytest.mark.parametrize("value", ["[]", "[1]", "true"])
def test_a_list_of_origins_holds_origins(sources: Sources, value: str) -> None:
    assert sources.toml(f"cors_allow_origin = {value}").problem().startswith("cors_allow_origin = ")


# Variables of others


def test_a_prefixed_variable_beats_the_plain_one(sources: Sources) -> None:
    settings = sources.load(environ={"THREADS": "2", "AUTOBATCH_THREADS": "600", "AUTOBATCH_API_KEY": "hush"})
    assert (settings.threads, settings.source("threads")) == (600, "environment AUTOBATCH_THREADS")
    assert settings.api_key == "hush"


def test_a_flag_beats_a_prefixed_variable(sources: Sources) -> None:
    assert sources.load("--port", "1", environ={"AUTOBATCH_PORT": "2"}).port == 1


def test_a_stray_variable_that_is_refused_says_how_to_get_rid_of_it(sources: Sources) -> None:
    with pytest.raises(SettingsError) as caught:
        sources.load(environ={"THREADS": "2"})
    assert "THREADS: if it is meant for another program" in str(caught.value)
    assert "set AUTOBATCH_THREADS, which wins" in str(caught.value)


@pytest.mark.parametrize("environ", [{"AUTOBATCH_THREADS": "2"}, {}])
def test_what_is_plainly_meant_for_this_service_needs_no_such_hint(sources: Sources, environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        sources.load("--max-concurrent-requests", "0", environ=environ)
    assert "another program" not in str(caught.value)


def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_setting(sources: Sources) -> None:
    links = {
        "AUTOBATCH_PORT": "tcp://10.0.0.1:3000",
        "AUTOBATCH_SERVICE_HOST": "10.0.0.1",
        "AUTOBATCH_PORT_3000_TCP_ADDR": "10.0.0.1",
    }
    assert sources.load(environ=links).port == 3000
    assert sources.load(environ=links | {"PORT": "8080"}).port == 8080


# The format of the refusal


@pytest.mark.parametrize(
    ("argv", "environ", "text", "log_format"),
    [
        (("--log-format", "json"), {}, "", "json"),
        (("--log-format=JSON",), {}, "", "json"),
        (("--log-format", "json", "--help=me"), {}, "", "json"),
        ((), {"LOG_FORMAT": "json"}, "", "json"),
        ((), {"AUTOBATCH_LOG_FORMAT": "json", "LOG_FORMAT": "text"}, "", "json"),
        ((), {}, 'log_format = "json"', "json"),
        ((), {}, 'log_format = "json"\nthis is not TOML', "json"),
        ((), {"LOG_FORMAT": "jsonl"}, "", "json"),
        (("--log-format", "text"), {"LOG_FORMAT": "json"}, 'log_format = "json"', "text"),
        ((), {"LOG_FORMAT": "xml"}, "", "text"),
        ((), {}, "", "text"),
    ],
)
def test_settings_are_refused_in_the_log_format_that_they_ask_for(
    sources: Sources, argv: Sequence[str], environ: dict[str, str], text: str, log_format: str
) -> None:
    sources.toml(text)
    with pytest.raises(SettingsError) as caught:
        sources.load("--port", "x", *argv, environ=environ)
    assert caught.value.log_format == log_format
    assert "\n" not in caught.value.on_one_line


# Secrets


def test_secrets_come_from_the_environment(sources: Sources) -> None:
    settings = sources.load(environ={"API_KEY": "hush", "INFERENCE_API_KEY": "hush2"})
    assert (settings.api_key, settings.inference_api_key) == ("hush", "hush2")


@pytest.mark.parametrize("key", ["api_key", "API_KEY", "inference_api_key"])
def test_a_secret_in_the_file_is_refused(sources: Sources, key: str) -> None:
    problem = sources.toml(f'{key} = "hush"').problem()
    assert problem == f"{key} (config.toml): give it only by environment, as {key.upper()}"


@pytest.mark.parametrize("argv", [("--api-key", "hush"), ("--api-key=hush",), ("--api-key",)])
def test_a_secret_as_a_flag_is_refused(sources: Sources, argv: Sequence[str]) -> None:
    assert sources.problem(*argv) == "flag --api-key: give it only by environment, as API_KEY"


def test_an_empty_secret_is_refused_rather_than_leaving_the_proxy_open(sources: Sources) -> None:
    assert "is empty" in sources.problem(environ={"API_KEY": ""})


def test_a_secret_that_no_header_can_carry_is_refused_and_not_repeated(sources: Sources) -> None:
    problem = sources.problem(environ={"API_KEY": "hush\n"})
    assert problem.startswith("api_key = (hidden) (environment API_KEY): must be printable ASCII")


# All at once


def test_all_problems_are_reported_at_once(sources: Sources) -> None:
    sources.toml('max_bach_size = 1\nport = "x"\n')
    problems = sources.problems("--queue", "7", "--threads", "9", environ={"MAX_WAIT_TIME_MS": "0"})
    assert [line.split(" ")[0] for line in problems] == [
        "flag",
        "max_bach_size",
        "max_wait_time_ms",
        "port",
        "threads",
    ]


def test_the_message_counts_the_problems(sources: Sources) -> None:
    with pytest.raises(SettingsError, match=r"^The settings have 2 problems:\n  port = 70000 .*\n  threads = "):
        sources.load("--port", "70000", "--threads", "20001")


def test_settings_that_do_not_fit_each_other_are_refused_with_both_sources(sources: Sources) -> None:
    sources.toml("max_concurrent_requests = 16")
    problem = sources.problem(environ={"MAX_BATCH_SIZE": "64"})
    assert problem.startswith(
        "max_concurrent_requests = 16 (config.toml): must be at least max_batch_size = 64 (environment MAX_BATCH_SIZE)"
    )


def test_a_refused_value_is_not_checked_against_the_others(sources: Sources) -> None:
    assert sources.problem("--threads", "8", "--max-concurrent-requests", "x").startswith("max_concurrent_requests")


# Help


def test_help_names_default_range_and_variable_of_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        load_settings(["--help"], {})
    assert left.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--max-batch-size N Most items in one upstream call. (1 to 2048 items; default 32; " in text
    assert "environment MAX_BATCH_SIZE)" in text
    assert "Time limits:" in text
    assert "--config PATH" in text
    assert "Only by environment: API_KEY" in text
    assert "--api-key " not in text


def test_version_is_printed_when_the_caller_has_one(capsys: pytest.CaptureFixture[str], sources: Sources) -> None:
    with pytest.raises(SystemExit) as left:
        load_settings(["--version"], {}, version="1.2.3")
    assert left.value.code == 0
    assert capsys.readouterr().out == "1.2.3\n"
    assert "unknown" in sources.problem("--version")
