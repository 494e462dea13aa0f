"""The marshmallow fields that settings need beyond whole numbers."""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
#: What browsers send in `Origin`; extensions have schemes of their own.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?|null")
_NOT_IN_A_URL = re.compile(r"[^!-~]|\\")


class Choice(fields.String):
    """One of a few words, in upper or lower case: `LOG_LEVEL=INFO` is common."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return super()._deserialize(value, attr, data, **kwargs).lower()


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
    """One or several base URLs: a list, or a string with commas; trailing slashes are dropped."""

    default_error_messages = {"invalid": "must be a URL or a list of URLs"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:  # noqa: ARG002
        entries = value.split(",") if isinstance(value, str) else value
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise self.make_error("invalid")
        urls = [entry.strip().rstrip("/") for entry in entries]
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
    if "?" in url or "#" in url:
        return "must not carry a query or fragment"
    if not parts.hostname:
        return "has no host"
    if port == 0:
        return "must not use port 0"
    return None


def redacted(text: str) -> str:
    """Blank the parts of a refused URL that could hold a password or a token."""
    without_userinfo = re.sub(r"^.*@", "***@", text, flags=re.DOTALL)
    return re.sub(r"[?#].*", "?***", without_userinfo, flags=re.DOTALL)
