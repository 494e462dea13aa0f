"""What importing a room loads: the engine loads neither web nor wire, the worker no Flask, APIs and dialects no I/O.

The import contracts say the same of the source; this asks a real interpreter.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WEB = {"flask", "werkzeug", "gunicorn", "marshmallow", "prometheus_client"}
WIRE = {"requests", "urllib3", "httptools", "msgspec"}


def loaded_by(*modules: str) -> set[str]:
    program = f"import {', '.join(modules)}, sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("batching", WEB | WIRE | {"ssl", "socket", "json"}),
        ("formats.bounded", WEB | WIRE),
        ("formats.slices", WEB | WIRE - {"msgspec"} | {"ssl"}),
        ("upstream.pool", WEB | WIRE - {"msgspec"} | {"ssl"}),
        ("upstream.dialects.tei", WEB | WIRE - {"msgspec"} | {"ssl", "select"}),
        ("api.apis.table", {"flask", "werkzeug", "gunicorn", "requests", "urllib3", "ssl"}),
        ("api.serve", {"gunicorn", "requests"}),
        ("serving.worker", {"flask", "werkzeug", "requests", "prometheus_client"}),
        ("wiring.hooks", {"flask", "prometheus_client", "requests"}),
        ("app", {"flask", "prometheus_client", "requests"}),
    ],
)
def test_a_room_loads_only_what_it_needs(module: str, never: set[str]) -> None:
    assert not loaded_by(module) & never


def test_the_check_sees_what_is_loaded() -> None:
    assert {"flask", "requests", "httptools"} <= loaded_by("wiring.service")
