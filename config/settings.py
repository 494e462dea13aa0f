"""Every setting, declared once: file keys, variables, flags, checks and documents derive from here."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - kept at run time for typing.get_type_hints
from dataclasses import dataclass, field, fields, replace

from marshmallow import Schema

from config.declare import LONGEST_TIMEOUT_MS, Declaration, address, choice, origins, secret, switch, text, whole_number
from config.fields import KeysFile
from config.keys import ClientKey  # noqa: TC001 - kept at run time for typing.get_type_hints
from config.upstream_settings import UpstreamSettings

_BATCHING = "Batching"
_ADMISSION = "Admission"
_RANKS = "Classes and fairness"
_TIME = "Time limits"
_SERVER = "Server"
_LOGGING = "Logging"
_SECRETS = "Secrets"

#: Room below TEI's default limit of 2,000,000 bytes: up to 2048 commas, and the options beside the items.
_LARGEST_BATCH_BYTES = 1_990_000


@dataclass(frozen=True, slots=True, repr=False)
class Settings(UpstreamSettings):
    """The effective settings. `load_settings` checks them; the constructor, handy in tests, does not.

    Names say milliseconds; code uses the properties below, in seconds. Counts are for each worker process.
    """

    max_batch_size: int = whole_number(_BATCHING, 32, (1, 2048), "items", "Most items in one upstream call.")
    max_wait_time_ms: int = whole_number(
        _BATCHING, 100, (1, 10_000), "ms", "Longest that an item is held back so that a batch can fill."
    )
    batch_timing: str = choice(
        _BATCHING,
        "adaptive",
        ("adaptive", "fixed"),
        "When to send a batch that is not full: adaptive learns whether waiting pays, "
        "fixed always waits max_wait_time_ms.",
    )
    max_batch_bytes: int = whole_number(
        _BATCHING,
        1_900_000,
        (1024, _LARGEST_BATCH_BYTES),
        "bytes",
        "Most bytes of JSON items in one upstream call; leaves room below TEI's limit of 2000000.",
    )
    max_padded_bytes: int = whole_number(
        _BATCHING,
        0,
        (0, 100_000_000),
        "bytes",
        "For an upstream that pads each input to the longest of its batch: most bytes of a batch, counted as items x "
        "the longest; texts of similar length then go together. 0: it does not pad.",
    )
    max_batch_tokens: int = whole_number(
        _BATCHING,
        0,
        (0, 100_000_000),
        "tokens",
        "Most tokens in one upstream call, estimated as UTF-8 bytes / 4. 0: as many as the upstream tells or shows.",
    )
    max_inflight_batches: int = whole_number(
        _BATCHING, 4, (1, 64), "batches", "Most calls under way at once at each upstream."
    )

    max_concurrent_requests: int = whole_number(
        _ADMISSION, 512, (1, 10_000), "requests", "Requests accepted at once; one more is answered 429."
    )
    max_queued_items: int = whole_number(
        _ADMISSION,
        8192,
        (1, 1_000_000),
        "items",
        "Most items waiting for a batch; beyond it, 429.",
    )
    max_client_batch_size: int = whole_number(
        _ADMISSION, 2048, (1, 100_000), "items", "Most items in one client request; a larger one is refused."
    )
    payload_limit: int = whole_number(
        _ADMISSION,
        16_000_000,
        (1024, 100_000_000),
        "bytes",
        "Largest request body; a larger one is answered 413.",
    )
    max_unsent_bytes: int = whole_number(
        _ADMISSION,
        100_000_000,
        (100_000, 100_000_000_000),
        "bytes",
        "Most bytes of answers that slow clients have not taken yet; beyond it the connection that holds the most of "
        "them is closed.",
    )

    deduplicate: str = switch(
        _RANKS,
        "on",
        "Whether equal inputs of one batch key that are under way at the same time are computed once.",
    )
    bulk_from_items: int = whole_number(
        _RANKS,
        64,
        (0, 100_000),
        "items",
        "A request of more inputs is bulk unless its X-Priority says interactive. 0: its size makes no request bulk.",
    )
    bulk_max_wait_ms: int = whole_number(
        _RANKS,
        20_000,
        (1, LONGEST_TIMEOUT_MS),
        "ms",
        "Longest that a bulk item waits behind interactive ones; and the most that X-Max-Wait-Ms may ask of bulk.",
    )
    bulk_latency_budget: int = whole_number(
        _RANKS,
        80,
        (0, 10_000),
        "percent",
        "By how much an upstream call with interactive items may take longer so that bulk items fill it.",
    )
    api_keys_file: str = text(
        _RANKS,
        KeysFile(),
        "none",
        "The clients that have keys of their own, each with its class, weight and cap (docs/fairness.md). SIGHUP reads "
        "it again.",
    )
    trust_fairness_header: str = switch(
        _RANKS,
        "off",
        "Whether X-Fairness-Id says which requests without a key of that file belong together. Only behind a gateway "
        "that sets it.",
    )

    request_timeout_ms: int = whole_number(
        _TIME,
        30_000,
        (1, LONGEST_TIMEOUT_MS),
        "ms",
        "Deadline of a request; past it the client is answered 504.",
    )
    upstream_timeout_ms: int = whole_number(
        _TIME, 30_000, (1, LONGEST_TIMEOUT_MS), "ms", "Longest that one upstream call may take."
    )
    unavailable_wait_ms: int = whole_number(
        _TIME,
        5000,
        (0, LONGEST_TIMEOUT_MS),
        "ms",
        "Longest that a request waits, within its deadline, while no upstream can be reached; then 503.",
    )
    read_timeout_ms: int = whole_number(
        _TIME, 5000, (100, 600_000), "ms", "Longest that a client may take to send its request; then 408."
    )

    host: str = address(_SERVER, "0.0.0.0", "Address to listen on.")  # noqa: S104 - a server for a network
    port: int = whole_number(_SERVER, 3000, (0, 65_535), "", "Port to listen on; 0 lets the system choose.")
    workers: int = whole_number(
        _SERVER,
        1,
        (1, 64),
        "processes",
        "Worker processes. Each has a queue of its own: more make smaller batches.",
    )
    threads: int = whole_number(
        _SERVER,
        0,
        (0, 20_000),
        "threads",
        "Threads of a worker. 0 derives them: max_concurrent_requests, 64 that wait for the next request of their "
        "client, and 16 for health, metrics and 429s.",
    )

    limit_request_line: int = whole_number(
        _SERVER,
        4094,
        (64, 8190),
        "bytes",
        "Longest request line (method, path, version); a longer one is answered 414.",
    )
    limit_request_fields: int = whole_number(
        _SERVER, 100, (8, 1000), "headers", "Most headers of a request; more are answered 431."
    )
    limit_request_field_size: int = whole_number(
        _SERVER, 8190, (256, 65_536), "bytes", "Longest header of a request; a longer one is answered 431."
    )
    cors_allow_origin: tuple[str, ...] = origins(
        _SERVER,
        "https://app.example.com",
        "no CORS",
        "Origins (or *) whose pages a browser lets read the answers.",
    )

    cpu_affinity: str = choice(
        _SERVER,
        "auto",
        ("auto", "off"),
        "auto keeps each worker on one core, the one with the fewest others: its threads run one at a time "
        "anyway, and so hand over without waking another core.",
    )

    log_level: str = choice(
        _LOGGING, "info", ("debug", "info", "warning", "error"), "Least severe message that is logged."
    )
    log_format: str = choice(_LOGGING, "text", ("text", "json"), "Lines for people, or JSON for machines.")
    log_requests: str = choice(
        _LOGGING,
        "off",
        ("off", "on"),
        "Whether each request and upstream call is logged, without bodies and keys.",
    )

    api_key: str | None = secret(
        _SECRETS,
        "Clients must send it: as a Bearer token, or in the header api-key or x-api-key. Unset, every client is "
        "accepted.",
    )
    inference_api_key: str | None = secret(_SECRETS, "Sent to the upstream as a Bearer token, to Azure as its api-key.")

    #: Where each given value came from: "config.toml", "flag --port", ...
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    #: What `api_keys_file` held when it was read: workers that start later take the same keys.
    client_keys: tuple[ClientKey, ...] = ()

    @property
    def max_wait(self) -> float:
        """`max_wait_time_ms` in seconds."""
        return self.max_wait_time_ms / 1000

    @property
    def request_timeout(self) -> float:
        """`request_timeout_ms` in seconds."""
        return self.request_timeout_ms / 1000

    @property
    def upstream_timeout(self) -> float:
        """`upstream_timeout_ms` in seconds."""
        return self.upstream_timeout_ms / 1000

    @property
    def read_timeout(self) -> float:
        """`read_timeout_ms` in seconds."""
        return self.read_timeout_ms / 1000

    @property
    def upstream_idle(self) -> float:
        """`upstream_idle_ms` in seconds."""
        return self.upstream_idle_ms / 1000

    @property
    def unavailable_wait(self) -> float:
        """`unavailable_wait_ms` in seconds."""
        return self.unavailable_wait_ms / 1000

    @property
    def bulk_max_wait(self) -> float:
        """`bulk_max_wait_ms` in seconds."""
        return self.bulk_max_wait_ms / 1000

    @property
    def bulk_growth(self) -> float:
        """`bulk_latency_budget` as a factor: 80 percent is 1.8."""
        return 1 + self.bulk_latency_budget / 100

    @property
    def embedded(self) -> bool:
        """Whether the proxy is to start its own embedding server."""
        return not self.inference_url

    @property
    def bind(self) -> str:
        """`host:port` as gunicorn wants it, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def source(self, name: str) -> str:
        """Say where the value of setting `name` came from."""
        is_default = getattr(self, name) == _DEFAULTS[name]
        return self.sources.get(name, "default" if is_default else "set in code")

    def __repr__(self) -> str:
        shown = (f"{each.name}={each.show(getattr(self, each.name))}" for each in DECLARATIONS)
        return f"Settings({', '.join(shown)})"


DECLARATIONS: tuple[Declaration, ...] = tuple(
    replace(each.metadata["declaration"], name=each.name) for each in fields(Settings) if "declaration" in each.metadata
)

_DEFAULTS = {each.name: each.default for each in DECLARATIONS}

SettingsSchema = Schema.from_dict({each.name: each.check for each in DECLARATIONS}, name="SettingsSchema")
