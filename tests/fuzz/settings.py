"""Settings: a refusal lists its problems without secrets, and accepted values load again from the environment alone."""

from __future__ import annotations

import atexit
import tempfile
from pathlib import Path

from config import DECLARATIONS, Settings, SettingsError, banner, load_settings, thread_count

_SECRET = "do-not-show-this"

_folder = tempfile.TemporaryDirectory(prefix="fuzz-settings-")
atexit.register(_folder.cleanup)
_file, _empty = Path(_folder.name, "config.toml"), Path(_folder.name, "empty.toml")
_empty.touch()
_variables = {each.env for each in DECLARATIONS}
_secrets = {spelled for each in DECLARATIONS if each.secret for spelled in (each.name, each.env, each.flag)}

SEEDS = [
    b"max_batch_size = 2\nMAX_BATCH_SIZE=3\n--max-batch-size=4",
    b'inference_url = ["http://a:1", "https://u:p@b/x"]\nport = 0\nhost = "::1"',
    b"INFERENCE_URL=http://[::1]:8080/base,http://b\nHOST=localhost",
    b"--inference-url=http://a\n--inference-url=http://b\n--port",
    b'log_level = "loud"\nthreads = -1\n[table]\nx = 1',
    b"MAX_WAIT_TIME_MS= 10\nREAD_TIMEOUT_MS=1e3\nTHREADS=007\nINFERENCE_API_KEY=a b",
    b"max_batch_size = 1979-05-27T07:32:00Z\nworkers = inf\nport = 0x10",
    b"\xff\xfe",
    b'api_key = "x"\nINFERENCE_API_KEY=x\n--api-key=x',
    b"\xef\xbb\xbfmax_batch_size = 2",
]
TOKENS = [
    *(f"{each.name} = ".encode() for each in DECLARATIONS),
    *(f"\n{each.env}=".encode() for each in DECLARATIONS),
    *(f"\n{each.flag}=".encode() for each in DECLARATIONS),
    *(b"http://", b"https://", b"u:p@", b"[::1]", b":8080", b"0", b"-1", b"1e9", b"inf", b"nan", b"true", b'"', b"'''"),
]


def check(data: bytes) -> None:
    """A line that names a flag or a variable of the proxy is given as that; the other lines become the file.

    ``_SECRET`` is appended to each line that names a secret, and no message may show it.
    """
    flags, variables, lines = [], {"API_KEY": _SECRET}, []
    if _SECRET.encode() in data or b"\0" in data:
        return
    for line in data.split(b"\n"):
        text = line.decode("utf-8", "surrogateescape")
        if text.partition("=")[0].strip() in _secrets:
            text += _SECRET
        name, found, value = text.partition("=")
        if name.startswith("--") and name not in {"--help", "--config"}:
            flags.append(text)
        elif found and name in _variables:
            variables[name] = value
        else:
            lines.append(text.encode("utf-8", "surrogateescape"))
    _file.write_bytes(b"\n".join(lines))
    try:
        settings = load_settings(flags, variables, _file)
    except SettingsError as error:
        _check_refusal(error)
    else:
        _check_accepted(settings)


def _check_refusal(error: SettingsError) -> None:
    assert error.problems
    assert all(map(str, error.problems))
    assert _SECRET not in str(error)


def _check_accepted(settings: Settings) -> None:
    assert thread_count(settings) >= 1
    assert _SECRET not in banner(settings, version="1", url="x")
    values = {each.env: getattr(settings, each.name) for each in DECLARATIONS}
    told = {
        name: ",".join(value) if isinstance(value, tuple) else str(value) for name, value in values.items() if value
    }
    told |= {name: "0" for name, value in values.items() if value == 0}
    assert load_settings((), told, _empty) == settings
