"""The clients: what each speaks, where it is installed, and the command that runs its driver."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
DRIVERS = Path(__file__).resolve().parent / "drivers"
#: Where ``make`` puts the Python clients: an environment of their own, for they bring much and other versions.
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
#: Where the clients of other languages go.
FOLDER = ROOT / ".clients"
INSTALL_SECONDS = 600.0
RUN_SECONDS = 90.0


class MissingError(Exception):
    """A client is not installed, and cannot be; the message says what is missing."""


@dataclass(frozen=True)
class Client:
    """One client library. ``packages`` are those that give its version, or that its language's tool installs."""

    name: str
    driver: str
    packages: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


PYTHON_CLIENTS = (
    Client("openai", "openai_sdk.py", ("openai",)),
    Client("huggingface_hub", "hugging_face.py", ("huggingface_hub",)),
    Client("langchain-openai", "langchain_embeddings.py", ("langchain-openai",)),
    Client("llama-index TEI", "llama_index_embeddings.py", ("llama-index-embeddings-text-embeddings-inference",)),
    Client("haystack", "haystack_embedders.py", ("haystack-ai", "huggingface-api-haystack")),
    Client("litellm", "litellm_providers.py", ("litellm",)),
    Client("ollama", "ollama_client.py", ("ollama",)),
    Client("cohere", "cohere_client.py", ("cohere",)),
)
CURL = Client("curl", "curl.sh")
NODE_CLIENTS = (
    Client("openai (Node)", "openai.mjs", ("openai@7.55.0",)),
    Client("@huggingface/inference", "hugging_face.mjs", ("@huggingface/inference@4.13.30",)),
    Client("ai-sdk", "ai_sdk.mjs", ("ai@7.0.173", "@ai-sdk/openai-compatible@3.0.92")),
)
GO_CLIENTS = (
    Client("go-openai", "go_openai.go", ("github.com/sashabaranov/go-openai@v1.43.0",)),
    Client("openai-go", "openai_go.go", ("github.com/openai/openai-go/v3@v3.96.0",)),
)

# No client may call home, and none needs a model's hub.
_QUIET = {
    "DO_NOT_TRACK": "1",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "PYTHONWARNINGS": "ignore",
}


def run(command: Sequence[str], url: str, model: str, key: str = "no-key") -> list[dict[str, Any]]:
    """Run a driver against a service and return what it told; a driver that fails tells that as a case of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= _QUIET | {"SERVICE_URL": url, "SERVICE_MODEL": model, "SERVICE_KEY": key}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return [{"case": "driver", "error": f"ran longer than {RUN_SECONDS:.0f} s"}]
    told = [_case(line) for line in done.stdout.splitlines() if line.startswith('{"case"')]
    if done.returncode or not told:
        told.append({"case": "driver", "error": f"ended with {done.returncode}: {done.stderr.strip()[-600:]}"})
    return told


def _case(line: str) -> dict[str, Any]:
    """Return what a line tells; an answer that a driver passed on may have spoilt its JSON."""
    try:
        told: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"case": line[10:].partition('"')[0], "error": f"no JSON: {line[-200:]}"}
    return told


def python_command(client: Client) -> list[str]:
    """Return the command of a Python client's driver, or raise `MissingError`."""
    if not PYTHON.exists():
        raise MissingError(f"no {PYTHON.relative_to(ROOT)}: `make test` and `make clients` install it")
    return [str(PYTHON), str(DRIVERS / client.driver)]


def curl_command() -> list[str]:
    """Return the command of curl's driver, or raise `MissingError`."""
    _tool("curl")
    return [_tool("sh"), str(DRIVERS / CURL.driver)]


def node_command(client: Client) -> list[str]:
    """Install a client of Node, once, and return its driver's command; or raise `MissingError`."""
    node, npm = _tool("node"), _tool("npm")
    where = _folder(client)
    if not (where / ".ready").exists():
        (where / "package.json").write_text('{"private": true, "type": "module"}', encoding="utf-8")
        _install([npm, "install", "--silent", "--no-audit", "--no-fund", *client.packages], where)
        (where / ".ready").touch()
    for name in ("report.mjs", client.driver):
        shutil.copy(DRIVERS / name, where)
    return [node, str(where / client.driver)]


def go_command(client: Client) -> list[str]:
    """Build a client of Go, and return its driver's command; or raise `MissingError`."""
    go = _tool("go")
    where = _folder(client)
    for name in ("report.go", client.driver):
        shutil.copy(DRIVERS / name, where)
    if not (where / ".ready").exists():
        (where / "go.mod").unlink(missing_ok=True)
        _install([go, "mod", "init", "clients.test/driver"], where)
        for package in client.packages:
            _install([go, "get", package], where)
        _install([go, "mod", "tidy"], where)
        (where / ".ready").touch()
    _install([go, "build", "-o", "driver", "."], where)
    return [str(where / "driver")]


def version(client: Client) -> str:
    """Return the versions of a client's packages as they are installed."""
    if client is CURL:
        return subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    if client not in PYTHON_CLIENTS:
        return ", ".join(package.rpartition("@")[2] for package in client.packages)
    code = f"from importlib.metadata import version\nprint(*map(version, {client.packages!r}), sep=', ')"
    return subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _folder(client: Client) -> Path:
    where = FOLDER / "-".join((Path(client.driver).stem, Path(client.driver).suffix[1:]))
    where.mkdir(parents=True, exist_ok=True)
    (FOLDER / ".gitignore").write_text("*\n", encoding="utf-8")
    return where


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"{name} is not installed")
    return found


def _install(command: Sequence[str], where: Path) -> None:
    what = " ".join(command[1:])
    try:
        done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise MissingError(f"`{what}` ran longer than {INSTALL_SECONDS:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-2:]
        raise MissingError(f"`{what}` failed: {' '.join(last)[:300]}")
