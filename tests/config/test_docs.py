"""The table in docs/settings.md and config.toml say what the declarations say."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from config import DECLARATIONS, Settings, load_settings, markdown_table, toml_file
from config.__main__ import main
from config.table import BEGIN, END, PAGE, MarkersMissingError, page_with_table, write_documents

ROOT = Path(__file__).resolve().parents[2]
REWRITE = "stale: run `python -m config --write-docs`"


def empty_page(root: Path) -> Path:
    """Make the page with its markers below ``root`` and return its path."""
    page = root / PAGE
    page.parent.mkdir()
    page.write_text(f"{BEGIN}{END}", encoding="utf-8")
    return page


def test_the_page_of_the_settings_holds_the_current_table() -> None:
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    assert page == page_with_table(page), f"{PAGE} is {REWRITE}"


def test_the_readme_links_the_page_of_the_settings() -> None:
    assert f"]({PAGE})" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_config_toml_holds_every_setting_and_its_default() -> None:
    assert (ROOT / "config.toml").read_text(encoding="utf-8") == toml_file(), f"config.toml is {REWRITE}"


def test_config_toml_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(toml_file(), encoding="utf-8")
    assert load_settings((), {}, path) == Settings()


def test_config_toml_leaves_out_only_secrets_and_what_has_no_default() -> None:
    left_out = {each.name for each in DECLARATIONS} - tomllib.loads(toml_file()).keys()
    assert left_out == {"inference_url", "cors_allow_origin", "api_key", "inference_api_key"}
    assert '# inference_url = "http://127.0.0.1:8080"' in toml_file()
    assert "# API_KEY: " in toml_file()


def test_the_example_of_a_setting_without_default_works_when_uncommented(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    text = toml_file().replace("# inference_url =", "inference_url =")
    path.write_text(text.replace("# cors_allow_origin =", "cors_allow_origin ="), encoding="utf-8")
    settings = load_settings((), {}, path)
    assert settings.inference_url == ("http://127.0.0.1:8080",)
    assert settings.cors_allow_origin == ("https://app.example.com",)


def test_the_table_has_one_row_a_setting() -> None:
    rows = [line for line in markdown_table().splitlines() if line.startswith("| `")]
    assert len(rows) == len(DECLARATIONS)
    assert "| `max_batch_size` | `32` | 1 to 2048 items | Most items in one upstream call. |" in rows
    assert all(row.count("|") == 5 for row in rows)


def test_only_the_text_between_the_markers_is_renewed() -> None:
    renewed = page_with_table(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    assert renewed == f"above\n{BEGIN}\n{markdown_table()}{END}\nbelow\n"
    assert page_with_table(renewed) == renewed


@pytest.mark.parametrize("page", ["", BEGIN, f"{END} {BEGIN}", f"{BEGIN} {BEGIN} {END}", f"{BEGIN} {END} {END}"])
def test_a_page_without_its_markers_is_refused(page: str) -> None:
    with pytest.raises(MarkersMissingError, match="once each"):
        page_with_table(page)


def test_both_documents_are_written(tmp_path: Path) -> None:
    page = empty_page(tmp_path)
    write_documents(tmp_path)
    assert page.read_text(encoding="utf-8") == f"{BEGIN}\n{markdown_table()}{END}"
    assert (tmp_path / "config.toml").read_text(encoding="utf-8") == toml_file()


def test_a_command_prints_each_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--table"]) == 0
    assert capsys.readouterr().out == markdown_table()
    assert main(["--toml"]) == 0
    assert capsys.readouterr().out == toml_file()


def test_a_command_rewrites_the_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("config.__main__.DEFAULT_FILE", tmp_path / "config.toml")
    assert main(["--write-docs"]) == 1
    assert PAGE in capsys.readouterr().err
    page = empty_page(tmp_path)
    assert main(["--write-docs"]) == 0
    assert (tmp_path / "config.toml").exists()
    assert page.read_text(encoding="utf-8") == f"{BEGIN}\n{markdown_table()}{END}"
