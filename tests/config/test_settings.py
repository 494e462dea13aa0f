"""Every setting is declared once, and its names, limits and seconds derive from that."""

from __future__ import annotations

import dataclasses

import pytest
from marshmallow import ValidationError, fields, validate

from config import DECLARATIONS, Declaration, Settings, SettingsSchema

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
    assert (settings.max_concurrent_requests, settings.max_client_batch_size) == (512, 1000)
    assert (settings.batch_timing, settings.upstream_api, settings.workers) == ("adaptive", "tei", 1)
    assert settings.api_key is None


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


def test_every_field_but_the_sources_is_declared_with_a_meaning() -> None:
    names = [each.name for each in dataclasses.fields(Settings) if each.name != "sources"]
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
    assert limits_of(by_name("max_batch_size")) == (1, 1000)
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
