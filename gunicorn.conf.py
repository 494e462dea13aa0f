"""gunicorn's settings: each value is derived from ours or explained. The hooks are in ``wiring/hooks.py``.

Read by the master at the start and again at SIGHUP; the workers inherit what it found.
"""

from __future__ import annotations

import logging
import logging.config
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from config import SettingsError, thread_count
from config import worker_connections as connections_of
from config.active import current, read_again
from config.console import refuse, take_over
from config.logs import logging_config
from wiring.heartbeat import place_heartbeat
from wiring.hooks import (  # noqa: F401 - gunicorn looks for them here
    WORKER_CLASS,
    child_exit,
    on_exit,
    on_reload,
    on_starting,
    post_fork,
    post_worker_init,
    pre_fork,
    when_ready,
    worker_exit,
)
from wiring.listening import problems_of_a_move
from wiring.master import machine, prepare_metrics_directory, raise_open_files_limit

#: Seconds by which answers may be late when the service stops, on top of the longest deadline.
STOP_MARGIN = 5.0

_open_files = raise_open_files_limit()
_notes: list[str] = []
try:
    _settings = read_again(_open_files, machine(), partial(problems_of_a_move, current()), _notes)
except SettingsError as _problem:
    refuse(_problem)
# From here on each line is in the chosen format, gunicorn's own and those that any library prints.
take_over(_settings.log_format)
logging.config.dictConfig(logging_config(_settings))
for _note in _notes:
    logging.getLogger("config").warning("%s", _note)
prepare_metrics_directory(_settings)

bind = _settings.bind
# One process has one queue: more processes split the same clients over smaller batches.
workers = _settings.workers
worker_class = WORKER_CLASS
# Every waiting request holds a thread, and some are kept for health checks and for saying 429.
threads = thread_count(_settings)
worker_connections = connections_of(_settings, _open_files)
# The master's heartbeat check of a worker's main loop. It says nothing about requests: those have deadlines.
timeout = 30
# Longer than the deadline of any request that was accepted.
graceful_timeout = int(_settings.request_timeout + STOP_MARGIN)
# Longer than the idle time-out of common load balancers (60 s), so that they close first and never race us.
keepalive = 75
# The app is loaded after the fork: its locks, sockets and threads belong to one process.
preload_app = False
# Costs a sixth of the throughput; metrics and response headers tell more.
accesslog = None
logconfig_dict = logging_config(_settings)
# The heartbeat file lives in memory: a slow disk must not look like a dead worker.
worker_tmp_dir = place_heartbeat()
# Not used, and its socket wants a writable home.
control_socket_disable = True
# A header with an underscore could be mistaken for another: it is dropped, as nginx does. No peer is trusted to rewrite
# the scheme, nor to send such names.
header_map = "drop"
forwarded_allow_ips = ""
forwarder_headers = ""
limit_request_line = _settings.limit_request_line
limit_request_fields = _settings.limit_request_fields
limit_request_field_size = _settings.limit_request_field_size
proc_name = "auto-batching-proxy"
