"""Without an upstream the service brings its own: a real model, which lives and dies with it."""

from __future__ import annotations

import json
import math
import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.service import GUNICORN, Service, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUESTION = "What is vector search?"
SENSIBLE = "Similarity search finds the nearest embeddings in a database."
SENTENCES = [
    "The cat sleeps on the warm windowsill.",
    "Bake the bread for forty minutes in a hot oven.",
    "The train to Zurich leaves at nine o'clock.",
    SENSIBLE,
    "Our football team lost the final on penalties.",
    "Interest rates rose for the third time this year.",
    "She plays the violin in a string quartet.",
    "Rain is expected in the mountains tomorrow.",
    "The patient should take two tablets a day.",
    "He painted the garden fence green.",
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("embedded")) as service:
        eventually(lambda: service.get("/health/ready").status == 200)
        yield service


def test_the_first_request_of_the_readme_works(service: Service) -> None:
    body = json.dumps({"input": QUESTION}).encode()
    answer = service.request("POST", "/embed", body, {"Content-Type": "application/json"})
    assert answer.status == 200
    vector = answer.json["embedding"]
    assert len(vector) >= 64
    assert sum(each * each for each in vector) == pytest.approx(1.0, abs=1e-3)


def test_the_nearest_of_ten_sentences_is_the_sensible_one(service: Service) -> None:
    question, *others = service.embed([QUESTION, *SENTENCES]).json

    def nearness(position: int) -> float:
        return math.fsum(a * b for a, b in zip(question, others[position], strict=True))

    nearest = max(range(len(SENTENCES)), key=nearness)
    assert SENTENCES[nearest] == SENSIBLE


def test_options_reach_the_model(service: Service) -> None:
    assert len(service.embed("a", dimensions=32).json[0]) == 32
    raw = service.embed("a", normalize=False).json[0]
    assert sum(each * each for each in raw) != pytest.approx(1.0, abs=1e-3)
    assert service.embed("a", prompt_name="none such").status == 422


def test_the_banner_says_where_the_vectors_come_from(service: Service) -> None:
    assert "(embedded server)" in service.log
    assert "Traceback" not in service.log


def test_a_reload_keeps_the_model_running(service: Service) -> None:
    before = service.workers
    (model,) = {each.pid for each in service.tree()} - {service.process.pid, *before}
    service.signal(signal.SIGHUP)
    eventually(lambda: len(service.workers) == 1 and service.workers != before)
    assert psutil.pid_exists(model)
    assert service.embed("a").status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=["term", "ctrl-c", "kill -9"])
def test_no_process_outlives_the_service(tmp_path: Path, number: signal.Signals) -> None:
    with Service(tmp_path, command=GUNICORN) as service:
        tree = service.tree()
        assert len(tree) == 3
        if number == signal.SIGINT:
            os.killpg(service.process.pid, number)
        else:
            service.signal(number)
        service.process.wait(10)
        assert psutil.wait_procs(tree, 10)[1] == []
