"""The table of docs/fairness.md on rate limits is made of the runs that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import simulate_limits

if TYPE_CHECKING:
    from pathlib import Path


def test_a_run_tells_the_parts_of_the_account_that_were_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate_limits, "LASTS", 60.0)
    job = simulate_limits.jobs()["windows of 60 s", "40 x 1"]
    spent = job.run()
    assert spent.calls == pytest.approx(1.0, abs=0.05)
    assert spent.tokens < spent.calls
    assert (spent.refused, spent.errors) == (0, 0)


def test_the_table_has_a_line_for_each_account_and_crowd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(simulate_limits, "LASTS", 2.0)
    document = tmp_path / "document.md"
    document.write_text(f"{simulate_limits.MARK}\n\n<!-- end -->\n")
    simulate_limits.main(["--write", str(document)])
    printed = capsys.readouterr().out.strip()
    assert len(printed.splitlines()) == 2 + len(simulate_limits.jobs())
    assert printed in document.read_text()
