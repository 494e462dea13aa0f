"""Environments of the peers, made on demand under `.bench-venvs/`."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parent.parent / ".bench-venvs"

#: Name → the path that answers 200 once the service takes requests.
READY_PATHS = {"mosec": "/", "bentoml": "/readyz"}


def ensure(name: str) -> Path:
    """Install the peer unless its environment already matches its requirements; return its `bin` folder.

    Raises subprocess.CalledProcessError where pip fails.
    """
    requirements = HERE / name / "requirements.txt"
    folder = ENVIRONMENTS / name
    stamp = folder / "installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    binaries = folder / "bin"
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"installing {name} into {folder.name}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([binaries / "python", "-m", "pip", "install", "-q", "-r", requirements], check=True)
        stamp.write_text(wanted)
    return binaries


def command(name: str) -> list[str]:
    """The command that serves the peer on `{port}`, its environment installed first."""
    binaries = ensure(name)
    if name == "mosec":
        return [
            str(binaries / "python"),
            str(HERE / "mosec" / "server.py"),
            "--address",
            "127.0.0.1",
            "--port",
            "{port}",
            "--timeout",
            "30000",
        ]
    return [
        str(binaries / "bentoml"),
        "serve",
        "service:Embed",
        "--working-dir",
        str(HERE / "bentoml"),
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
    ]


def environment(name: str, upstream_url: str) -> dict[str, str]:
    """The environment variables of the peer; `BENTOML_DO_NOT_TRACK` turns its telemetry off."""
    return {"UPSTREAM_URL": upstream_url, **({"BENTOML_DO_NOT_TRACK": "True"} if name == "bentoml" else {})}


def main() -> None:
    """Install the peers named on the command line, or all."""
    for name in sys.argv[1:] or READY_PATHS:
        ensure(name)


if __name__ == "__main__":
    main()
