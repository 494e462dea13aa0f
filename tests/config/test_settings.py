"""Every setting is declared once, and its names, limits and seconds derive from that."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from marshmallow import ValidationError, fields, validate

from config import DECLARATIONS, Declaration, Settings, SettingsSchema
from tests.upstream.network_bench import self_signed

if TYPE_CHECKING:
    from pathlib import Path

WHOLE_NUMBERS = [each for each in DECLARATIONS if isinstance(each.check, fields.Integer)]


def limits_of(declaration: Declaration) -> tuple[int, int]:
    """Return the smallest and the largest value that the setting takes."""
    (limits,) = (each for each in declaration.check.validators if isinstance(each, validate.Range))
    return limits.min, limits.max


def by_name(name: str) -> Declaration:
    """Return the declaration of one setting."""
    return next(each for each in DECLARATIONS if each.name == name)


def test_the_defaults_are_the_documented_ones() -> None:
    settings = Settings()
    assert settings.inference_url == ()
    assert (settings.max_batch_size, settings.max_wait_time_ms, settings.port) == (32, 100, 3000)
    assert (settings.max_concurrent_requests, settings.max_client_batch_size) == (512, 2048)
    assert (settings.batch_timing, settings.upstream_api, settings.workers) == ("adaptive", "auto", 1)
    assert settings.payload_limit == 16_000_000
    assert (settings.upstream_model, settings.upstream_extra, settings.upstream_ca_file) == ("", "", "")
    assert settings.api_key is None
    assert (settings.bulk_from_items, settings.bulk_max_wait_ms, settings.bulk_latency_budget) == (64, 20_000, 80)
    assert (settings.deduplicate, settings.trust_fairness_header, settings.api_keys_file) == ("on", "off", "")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


def test_every_field_but_sources_and_clients_is_declared_with_a_meaning() -> None:
    names = [each.name for each in dataclasses.fields(Settings) if each.name not in {"sources", "client_keys"}]
    assert names == [each.name for each in DECLARATIONS]
    assert all(each.meaning.endswith(".") for each in DECLARATIONS)


def test_file_key_variable_and_flag_share_one_name() -> None:
    each = by_name("max_batch_size")
    assert (each.name, each.env, each.flag) == ("max_batch_size", "MAX_BATCH_SIZE", "--max-batch-size")


def test_every_default_passes_its_own_check() -> None:
    given = {each.name: each.default for each in DECLARATIONS if each.default not in ((), None)}
    assert SettingsSchema().load(given) == given


@pytest.mark.parametrize("declaration", WHOLE_NUMBERS, ids=lambda each: each.name)
def test_a_whole_number_is_taken_at_its_limits_and_refused_beyond(declaration: Declaration) -> None:
    low, high = limits_of(declaration)
    for value in (low, high):
        assert SettingsSchema().load({declaration.name: value}) == {declaration.name: value}
    for value in (low - 1, high + 1):
        with pytest.raises(ValidationError, match=f"{low} to {high}"):
            SettingsSchema().load({declaration.name: value})


def test_the_ranges_are_the_documented_ones() -> None:
    assert limits_of(by_name("max_batch_size")) == (1, 2048)
    assert limits_of(by_name("max_wait_time_ms")) == (1, 10_000)
    assert limits_of(by_name("port")) == (0, 65_535)


def test_a_batch_always_leaves_room_under_the_payload_limit_of_tei() -> None:
    _, most_bytes = limits_of(by_name("max_batch_bytes"))
    _, most_items = limits_of(by_name("max_batch_size"))
    commas, options = most_items, 4096
    assert most_bytes + commas + options < 2_000_000


def test_milliseconds_in_names_are_seconds_in_code() -> None:
    settings = Settings(max_wait_time_ms=250, request_timeout_ms=1500, upstream_timeout_ms=2000, read_timeout_ms=100)
    assert (settings.max_wait, settings.request_timeout) == (0.25, 1.5)
    assert (settings.upstream_timeout, settings.read_timeout) == (2.0, 0.1)


def test_settings_that_say_the_same_are_equal_wherever_they_came_from() -> None:
    assert Settings(port=1, sources={"port": "flag --port"}) == Settings(port=1)
    assert hash(Settings(port=1, sources={"port": "flag --port"})) == hash(Settings(port=1))


def test_a_value_tells_its_source() -> None:
    settings = Settings(port=1, workers=2, sources={"port": "flag --port"})
    assert [settings.source(name) for name in ("port", "workers", "threads")] == [
        "flag --port",
        "set in code",
        "default",
    ]


def test_no_secret_is_ever_shown() -> None:
    settings = Settings(api_key="hush")
    assert "hush" not in f"{settings!r} {settings}"
    assert "api_key=set, inference_api_key=unset" in repr(settings)


def test_an_ipv6_address_is_bound_in_brackets() -> None:
    assert Settings(host="::1", port=80).bind == "[::1]:80"
    assert Settings(host="localhost", port=80).bind == "localhost:80"


def test_without_an_upstream_the_embedded_server_is_used() -> None:
    assert Settings().embedded
    assert not Settings(inference_url=("http://tei",)).embedded


# What is on or off


@pytest.mark.parametrize("name", ["deduplicate", "trust_fairness_header"])
def test_a_switch_takes_the_words_and_the_booleans_of_toml(name: str) -> None:
    for given, kept in [("on", "on"), ("OFF", "off"), (True, "on"), (False, "off"), ("True", "on"), ("false", "off")]:
        assert loaded(**{name: given}) == {name: kept}
    for wrong in ("yes", "", 1, None):
        with pytest.raises(ValidationError):
            loaded(**{name: wrong})


def test_the_budget_of_bulk_is_a_factor_in_code() -> None:
    settings = Settings(bulk_latency_budget=25, bulk_max_wait_ms=1500)
    assert (settings.bulk_growth, settings.bulk_max_wait) == (1.25, 1.5)
    assert Settings().bulk_growth == 1.8


# What is said of an upstream


def loaded(**given: object) -> dict[str, object]:
    """Return what the schema makes of these values."""
    return dict(SettingsSchema().load(given))


@pytest.mark.parametrize("path", ["/embed", "/v2/encode", "/embed?model=a", "/a/b-c_d.e~f", "/"])
def test_a_path_may_have_a_query(path: str) -> None:
    assert loaded(upstream_path=path) == {"upstream_path": path}


@pytest.mark.parametrize("path", ["embed", "/a b", "/a#b", "/a\\b", "http://a/b", "/a\r\nx: y", "/é"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="a path that begins with /"):
        loaded(upstream_path=path)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ('{"model": "m", "truncate": true}', '{"model":"m","truncate":true}'),
        ({"model": "m"}, '{"model":"m"}'),
        ("{}", ""),
        ("", ""),
    ],
)
def test_constant_members_are_kept_as_compact_json(given: object, kept: str) -> None:
    assert loaded(upstream_extra=given) == {"upstream_extra": kept}


@pytest.mark.parametrize("given", ["[]", '"a"', "{", '{"a":NaN}', "{" * 100_000, 5])
def test_constant_members_that_are_no_json_object_are_refused(given: object) -> None:
    with pytest.raises(ValidationError, match="a JSON object"):
        loaded(upstream_extra=given)


@pytest.mark.parametrize("place", ["embeddings", "result.data", "data.embedding", "a b.c"])
def test_a_place_in_an_answer_is_names_with_dots_between_them(place: str) -> None:
    assert loaded(upstream_output_field=place) == {"upstream_output_field": place}


@pytest.mark.parametrize("place", ["a..b", ".a", "a.", "a\nb", "a." * 20 + "b"])
def test_other_places_are_refused(place: str) -> None:
    with pytest.raises(ValidationError, match="names with dots"):
        loaded(upstream_output_field=place)


def test_a_file_of_certificates_is_kept_as_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = self_signed(tmp_path).with_suffix(".crt").name
    monkeypatch.setattr("config.fields.STARTED_IN", tmp_path)
    assert loaded(upstream_ca_file=name) == {"upstream_ca_file": str(tmp_path / name)}
    assert loaded(upstream_ca_file="") == {"upstream_ca_file": ""}


def test_a_file_that_holds_no_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("no certificate")
    with pytest.raises(ValidationError, match="no certificate in PEM form"):
        loaded(upstream_ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(ValidationError, match="cannot be read: No such file"):
        loaded(upstream_ca_file=str(tmp_path / "missing.pem"))


def test_what_is_not_said_of_an_upstream_is_shown_in_words() -> None:
    assert by_name("upstream_path").show("") == "found out"
    assert by_name("upstream_path").show("/v2") == "/v2"
