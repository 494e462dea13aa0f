"""Clients with keys of their own, as the service runs: a reload reads their file again, a mistake changes nothing."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.service import GUNICORN, Service, eventually
from tests.support.upstream import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE, OTHER, NEXT = "sk-one-4711", "sk-other-4712", "sk-next-4713"


def table(name: str, key: str, more: str = "") -> str:
    return f'[[keys]]\nname = "{name}"\nkey = "{key}"\n{more}\n'


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(table("search", ONE) + table("import", OTHER, 'class = "bulk"'), encoding="utf-8")
    path.chmod(0o600)
    return path


@pytest.fixture
def service(tmp_path: Path, keys: Path) -> Iterator[Service]:
    with (
        ScriptedUpstream() as upstream,
        Service(
            tmp_path / "service", command=GUNICORN, secrets={"API_KEYS_FILE": str(keys)}, inference_url=upstream.url
        ) as service,
    ):
        yield service
        assert not any(key in service.log for key in (ONE, OTHER, NEXT))


def class_of(service: Service, key: str) -> str | None:
    """Return the class of a request with this key; None where the key does not open."""
    answer = service.embed("a", {"x-api-key": key})
    assert answer.status in {200, 401}
    return answer.headers["x-batch-class"] if answer.status == 200 else None


def test_two_keys_open_each_with_its_class_and_its_name_in_the_metrics(service: Service) -> None:
    assert [class_of(service, key) for key in (ONE, OTHER, NEXT)] == ["interactive", "bulk", None]
    told = service.get("/metrics").body.decode()
    assert 'autobatch_flow_items_total{flow="search",outcome="ok"} 1.0' in told
    assert 'autobatch_flow_items_total{flow="import",outcome="ok"} 1.0' in told


def test_a_reload_takes_new_keys_and_a_mistake_leaves_the_keys_as_they_are(service: Service, keys: Path) -> None:
    old = service.workers
    keys.write_text(table("search", NEXT, "weight = 0"), encoding="utf-8")
    service.signal(signal.SIGHUP)
    eventually(lambda: "weight: must be a whole number, 1 to 100" in service.log)
    eventually(lambda: service.workers and not set(service.workers) & set(old))
    assert [class_of(service, key) for key in (ONE, OTHER, NEXT)] == ["interactive", "bulk", None]

    old = service.workers
    keys.write_text(table("search", NEXT, 'class = "bulk"'), encoding="utf-8")
    service.signal(signal.SIGHUP)
    eventually(lambda: service.workers and not set(service.workers) & set(old))
    assert [class_of(service, key) for key in (ONE, OTHER, NEXT)] == [None, None, "bulk"]
