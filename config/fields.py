"""The marshmallow fields that settings need beyond whole numbers."""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

from marshmallow import ValidationError, fields

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
#: What browsers send in `Origin`; extensions have schemes of their own.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?|null")
_NOT_IN_A_URL = re.compile(r"[^!-~]|\\")


def _folder() -> Path:
    try:
        return Path.cwd()
    except OSError:  # it has been removed
        return Path("/")


#: What relative paths of files are relative to. gunicorn changes into another folder after it has read the settings for
#: the first time, and SIGHUP reads them again there.
STARTED_IN = _folder()

#: Names of parameters of a query that hold what no log may show.
_IS_SECRET = re.compile(r"(?i)key|token|secret|passw|signature|^sig$|^code$|^auth").search


class Choice(fields.String):
    """One of a few words, in upper or lower case: `LOG_LEVEL=INFO` is common."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return super()._deserialize(value, attr, data, **kwargs).lower()


class Switch(Choice):
    """on or off; true and false mean the same, and TOML has them without quotes."""

    _WORDS = {"true": "on", "false": "off"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        word = super()._deserialize(str(value) if isinstance(value, bool) else value, attr, data, **kwargs)
        return self._WORDS.get(word, word)


class Host(fields.String):
    """A name or address to listen on, without a port; IPv6 brackets are optional and dropped."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        host = super()._deserialize(value, attr, data, **kwargs)
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            if not _HOST_NAME.fullmatch(host):
                raise self.make_error("invalid") from None
            return host


class UrlList(fields.Field[tuple[str, ...]]):
    """One or several base URLs: a list, or a string with commas; slashes at the end of their paths are dropped.

    A URL may have a query, which stands in each request: Azure wants ``?api-version=…``. Keys do not belong there.
    """

    default_error_messages = {"invalid": "must be a URL or a list of URLs"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:  # noqa: ARG002
        entries = value.split(",") if isinstance(value, str) else value
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise self.make_error("invalid")
        urls = [_without_slashes(entry.strip()) for entry in entries]
        faults = [f"URL {number} {fault}" for number, url in enumerate(urls, 1) if (fault := _url_fault(url))]
        if not urls or urls == [""]:
            faults = ["is empty: leave it out to use the embedded server"]
        elif not faults and len(set(urls)) < len(urls):
            faults = ["names one URL twice"]
        if faults:
            raise ValidationError(faults)
        return tuple(urls)


class OriginList(fields.Field[tuple[str, ...]]):
    """One or several web origins (scheme, host and port, as browsers send them) or `*`: a list, or text with commas."""

    default_error_messages = {
        "invalid": "must be * or origins like https://app.example.com, without a path",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:  # noqa: ARG002
        entries = value.split(",") if isinstance(value, str) else value
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise self.make_error("invalid")
        found = [entry.strip() for entry in entries]
        if not found or not all(entry == "*" or _ORIGIN.fullmatch(entry) for entry in found):
            raise self.make_error("invalid")
        return tuple(dict.fromkeys(found))


class _Text(fields.String):
    """A text in one line that is empty where nothing is given."""

    limits = "text"
    pattern = re.compile(r"[^\x00-\x1f\x7f]{1,500}")

    def __init__(self) -> None:
        super().__init__(error_messages={"invalid": f"must be {self.limits}"}, metadata={"limits": self.limits})

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        given = super()._deserialize(value, attr, data, **kwargs).strip()
        if given and not self.pattern.fullmatch(given):
            raise self.make_error("invalid")
        return given


class ModelName(_Text):
    """The name of a model."""

    limits = "one line"


class UpstreamPath(_Text):
    """A path below an upstream's base URL; it may have a query."""

    limits = "a path that begins with /"
    pattern = re.compile(r"/[!-\"$-\[\]-~]*")


class MemberName(_Text):
    """The name of one member of a JSON object."""

    limits = "the name of a member"


class MemberPath(_Text):
    """The names of members within one another, with dots between them."""

    limits = "names with dots between them"
    pattern = re.compile(r"[^.\x00-\x1f\x7f]{1,200}(\.[^.\x00-\x1f\x7f]{1,200}){0,9}")


class JsonObject(_Text):
    """A JSON object, kept as compact text; a table in a file is one as well."""

    limits = "a JSON object"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:  # noqa: ARG002
        if value == "":
            return ""
        try:
            given = value if isinstance(value, dict) else json.loads(value, parse_constant=_refuse_constant)
            if not isinstance(given, dict):
                raise self.make_error("invalid")
            return json.dumps(given, separators=(",", ":"), allow_nan=False) if given else ""
        except (TypeError, ValueError, RecursionError):
            raise self.make_error("invalid") from None


class CertificateFile(_Text):
    """A file of certificates in PEM that can be read now; kept as an absolute path."""

    limits = "a file of certificates (PEM)"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        given = super()._deserialize(value, attr, data, **kwargs)
        if not given:
            return ""
        path = STARTED_IN / given
        try:
            ssl.create_default_context(cafile=str(path))
        except ssl.SSLError:
            raise ValidationError("holds no certificate in PEM form") from None
        except OSError as trouble:
            raise ValidationError(f"cannot be read: {trouble.strerror or type(trouble).__name__}") from None
        return str(path)


class KeysFile(_Text):
    """A file of the clients' keys, kept as an absolute path; ``config/keys.py`` reads it."""

    limits = "a TOML file"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        given = super()._deserialize(value, attr, data, **kwargs)
        return str(STARTED_IN / given) if given else ""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _without_slashes(url: str) -> str:
    path, mark, query = url.partition("?")
    return path.rstrip("/") + mark + query


def _url_fault(url: str) -> str | None:
    """Return why the upstream client cannot use `url`, or None. The text does not quote it: it may hold a password."""
    if _NOT_IN_A_URL.search(url):
        return "contains characters that do not belong in a URL"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "has a host or port that cannot be read"
    if parts.scheme not in {"http", "https"}:
        return "must start with http:// or https://"
    if "@" in parts.netloc:
        return "must not carry a user name or password: set INFERENCE_API_KEY in the environment"
    if "#" in url or url.endswith("?"):
        return "must not carry an empty query or fragment"
    if any(_IS_SECRET(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        return "must not carry a key in its query: set INFERENCE_API_KEY in the environment"
    if not parts.hostname:
        return "has no host"
    if port == 0:
        return "must not use port 0"
    return None


def redacted(text: str) -> str:
    """Blank the parts of a refused URL that could hold a password or a token."""
    without_userinfo = re.sub(r"^.*@", "***@", text, flags=re.DOTALL)
    return re.sub(r"[?#].*", "?***", without_userinfo, flags=re.DOTALL)
