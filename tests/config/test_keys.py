"""The file of the clients' keys is read whole or not at all, and no message of its mistakes quotes a key."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

import config.active
from config import Settings, SettingsError, load_settings
from config.active import activate, read_again
from config.keys import MOST_BYTES, MOST_KEYS, ClientKey, read_keys

ROOT = Path(__file__).resolve().parents[2]
SECRET = "sk-4711"
DIGEST = sha256(SECRET.encode()).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def problems(file: Path, text: str) -> list[str]:
    """Return what is wrong with a file of this text, none of which tells a key."""
    file.write_text(text, encoding="utf-8")
    keys, found = read_keys(str(file))
    assert (keys == ()) == bool(found)
    assert not any(SECRET in each or DIGEST[:8] in each for each in found)
    return list(found)


def problem(file: Path, text: str) -> str:
    (only,) = problems(file, text)
    return only


def shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def table(**members: object) -> str:
    """Return the TOML of one client; text goes in quotes."""
    lines = [f"{name} = {shown(value)}" for name, value in members.items()]
    return "\n".join(["[[keys]]", *lines, ""])


def test_each_table_is_one_client(file: Path) -> None:
    file.write_text(
        f"""
        [[keys]]
        name = "search"
        key = "{SECRET}"

        [[keys]]
        name = "night.import-2"
        sha256 = "{sha256(b"b").hexdigest().upper()}"
        class = "bulk"
        weight = 4
        max_requests = 16
        """,
        encoding="utf-8",
    )
    assert read_keys(str(file)) == (
        (
            ClientKey("search", bytes.fromhex(DIGEST)),
            ClientKey("night.import-2", sha256(b"b").digest(), is_bulk=True, weight=4, max_requests=16),
        ),
        (),
    )


def test_the_text_of_a_client_does_not_show_its_key() -> None:
    shown = repr(ClientKey("search", bytes.fromhex(DIGEST)))
    assert "search" in shown
    assert "digest" not in shown


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 64])
def test_a_name_has_letters_digits_dots_dashes_and_underscores(file: Path, name: str) -> None:
    assert problems(file, table(name=name, key=SECRET)) == []


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "é", "a\\n", "x" * 65, 'a\\"', "a:b"])
def test_any_other_name_is_refused(file: Path, name: str) -> None:
    assert problem(file, table(name=name, key=SECRET)).startswith("[[keys]] number 1: name: must be letters")


def test_the_name_that_metrics_give_to_all_others_is_refused(file: Path) -> None:
    assert "must not be other" in problem(file, table(name="other", key=SECRET))


def test_a_name_that_is_the_key_is_refused(file: Path) -> None:
    assert problem(file, table(name=SECRET, key=SECRET)) == "[[keys]] number 1: name: must not be the key itself"


@pytest.mark.parametrize("key", ["", "a b", "a\\n", "é", "x" * 1001])
def test_a_key_is_printable_ascii(file: Path, key: str) -> None:
    assert "key: must be printable ASCII" in problem(file, table(name="a", key=key))


@pytest.mark.parametrize("digest", ["", DIGEST[:-1], DIGEST + "0", "g" * 64])
def test_a_digest_has_64_hexadecimal_digits(file: Path, digest: str) -> None:
    assert "sha256: must be the key's SHA-256" in problem(file, table(name="a", sha256=digest))


def test_the_digest_of_nothing_is_refused(file: Path) -> None:
    assert "is that of an empty key" in problem(file, table(name="a", sha256=sha256(b"").hexdigest()))


@pytest.mark.parametrize("given", [{}, {"key": SECRET, "sha256": DIGEST}])
def test_a_client_has_either_a_key_or_a_digest(file: Path, given: dict[str, str]) -> None:
    assert problem(file, table(name="a", **given)) == "[[keys]] number 1: key: one of key and sha256 must be given"


@pytest.mark.parametrize(
    ("member", "least", "most"), [("weight", 1, 100), ("max_requests", 1, 10_000)], ids=["weight", "max_requests"]
)
def test_a_number_is_taken_at_its_limits_and_refused_beyond(file: Path, member: str, least: int, most: int) -> None:
    for value in (least, most):
        assert problems(file, table(name="a", key=SECRET, **{member: value})) == []
    for wrong in (least - 1, most + 1, 1.5, "x"):
        found = problem(file, table(name="a", key=SECRET, **{member: wrong}))
        assert found == f"[[keys]] number 1: {member}: must be a whole number, {least} to {most}"


@pytest.mark.parametrize("wrong", ["Bulk", "", "realtime", 1])
def test_a_class_is_interactive_or_bulk(file: Path, wrong: object) -> None:
    found = problem(file, table(name="a", key=SECRET, **{"class": wrong}))
    assert found.startswith("[[keys]] number 1: class: must be")


def test_two_clients_share_neither_name_nor_key(file: Path) -> None:
    found = problems(file, table(name="a", key=SECRET) + table(name="a", key="b") + table(name="c", sha256=DIGEST))
    assert found == [
        "[[keys]] number 2: name: another client has it",
        "[[keys]] number 3: another client has the same key",
    ]


def test_an_unknown_member_is_refused_without_its_name(file: Path) -> None:
    found = problem(file, table(name="a", key="b", **{SECRET: "x"}))
    assert found == ("[[keys]] number 1: (unknown): the members are name, key, sha256, class, weight, max_requests")


def test_every_mistake_is_told_at_once(file: Path) -> None:
    found = problems(file, table(name="", key=SECRET, weight=0) + table(key="b", sha256=1))
    assert [each.split(": ")[:2] for each in found] == [
        ["[[keys]] number 1", "name"],
        ["[[keys]] number 1", "weight"],
        ["[[keys]] number 2", "name"],
        ["[[keys]] number 2", "sha256"],
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no table [[keys]]"),
        ("keys = []", "holds no table [[keys]]"),
        (f'keys = ["{SECRET}"]', "holds no table [[keys]]"),
        (f'[keys]\nkey = "{SECRET}"', "holds no table [[keys]]"),
        (f'{SECRET} = "x"', "may hold tables [[keys]] and nothing else"),
        (f"[[keys]]\nkey = {SECRET}", "is not TOML (at line 2, column 7)"),
        (f"[[keys]]\n{SECRET} = 1\n{SECRET} = 2", "is not TOML (at end of document)"),
        (f'[[keys]]\nkey = "{SECRET}', "is not TOML"),
    ],
)
def test_a_file_of_another_shape_is_refused(file: Path, text: str, words: str) -> None:
    assert problem(file, text).startswith(words)


def test_a_file_that_is_nested_deeply_is_refused(file: Path) -> None:
    assert problem(file, "keys = " + "[" * 100_000) == "is nested too deeply"


@pytest.mark.parametrize("value", ["inf", "nan", "1e400", "2020-01-01", "[1]", "{a = 1}", "9" * 4000])
@pytest.mark.parametrize("member", ["name", "key", "sha256", "class", "weight", "max_requests"])
def test_values_of_every_type_that_toml_has_are_refused(file: Path, member: str, value: str) -> None:
    found = problems(file, f"[[keys]]\n{member} = {value}\n")
    assert any(each.startswith(f"[[keys]] number 1: {member}: ") for each in found)
    assert not any(value in each for each in found)


def test_a_file_that_cannot_be_read_is_refused(file: Path, tmp_path: Path) -> None:
    assert read_keys(str(file)).problems == ("cannot be read: No such file or directory",)
    assert read_keys(str(tmp_path)).problems == ("cannot be read: Is a directory",)
    file.write_bytes(b"\xff")
    assert read_keys(str(file)).problems == ("is not UTF-8 text",)


def test_a_file_is_bounded_in_bytes_and_tables(file: Path) -> None:
    assert problem(file, "#" * (MOST_BYTES + 1)) == f"has more than {MOST_BYTES} bytes"
    many = [table(name=f"a{each}", key=f"b{each}") for each in range(MOST_KEYS + 1)]
    assert problems(file, "".join(many[1:])) == []
    assert problem(file, "".join(many)) == f"has more than {MOST_KEYS} tables [[keys]]"


# As a setting


def test_the_settings_hold_what_the_file_held(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(table(name="search", key=SECRET), encoding="utf-8")
    monkeypatch.setattr("config.fields.STARTED_IN", tmp_path)
    settings = load_settings(["--api-keys-file", "keys.toml"], {})
    assert settings.api_keys_file == str(file)
    assert settings.client_keys == (ClientKey("search", bytes.fromhex(DIGEST)),)
    assert "digest" not in repr(settings)
    assert SECRET not in repr(settings)


def test_without_a_file_there_are_no_clients_of_their_own() -> None:
    assert Settings().client_keys == load_settings((), {}).client_keys == ()


def test_a_mistake_in_the_file_is_a_mistake_in_the_settings(file: Path) -> None:
    file.write_text(table(name="a", key=SECRET, weight=0) + table(name="b"), encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load_settings((), {"API_KEYS_FILE": str(file)})
    where = f"api_keys_file = {file} (environment API_KEYS_FILE): [[keys]] number"
    assert [str(each) for each in refused.value.problems] == [
        f"{where} 1: weight: must be a whole number, 1 to 100",
        f"{where} 2: key: one of key and sha256 must be given",
    ]
    assert SECRET not in str(refused.value)


@pytest.fixture
def in_force(file: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Make settings with one client the ones in force, and leave none behind."""
    monkeypatch.setattr(config.active, "_active", None)
    monkeypatch.setenv("API_KEYS_FILE", str(file))
    file.write_text(table(name="search", key=SECRET), encoding="utf-8")
    file.chmod(0o600)
    return activate(load_settings())


def test_the_file_is_read_again_with_the_settings(file: Path, in_force: Settings) -> None:
    file.write_text(table(name="search", key="b", weight=7), encoding="utf-8")
    assert read_again().client_keys == (ClientKey("search", sha256(b"b").digest(), weight=7),)


@pytest.mark.parametrize("text", ["", "[[keys]]\nname = ", table(name="search", key="b", weight=0)])
def test_a_mistake_leaves_the_clients_that_were_in_force(
    file: Path, in_force: Settings, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(text, encoding="utf-8")
    with caplog.at_level(logging.ERROR):
        assert read_again() is in_force
    assert "the last good ones stay" in caplog.text
    assert "api_keys_file" in caplog.text


@pytest.mark.parametrize(("mode", "count"), [(0o600, 0), (0o640, 0), (0o644, 1), (0o604, 1)])
def test_a_note_says_that_every_user_may_read_the_file(file: Path, in_force: Settings, mode: int, count: int) -> None:
    file.chmod(mode)
    notes: list[str] = []
    read_again(notes=notes)
    assert notes == [f"api_keys_file = {file}: every user of this machine may read it (chmod o-r)"] * count


def test_a_relative_path_means_the_same_after_the_service_has_changed_its_folder(tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text(table(name="search", key=SECRET), encoding="utf-8")
    look = (
        "import os; from config import load_settings; first = load_settings(); os.chdir('/'); "
        "print(first.client_keys == load_settings().client_keys != ())"
    )
    environ = {"API_KEYS_FILE": "keys.toml", "PYTHONPATH": str(ROOT), "CONFIG_FILE": os.devnull}
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"
