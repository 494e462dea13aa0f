"""The load generator's connections, and the closed and open loops that drive them.

Callbacks only: no task, no future and no parsed body per request. The generator shares the
machine with what it measures, so the service lacks each microsecond that is spent here.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds between looks for requests that take too long.
_WATCHDOG_PERIOD = 0.5
#: Seconds a client waits after a failed connection before it tries again.
_RECONNECT_DELAY = 0.05


@dataclass(slots=True)
class Recording:
    """What happened in the measured window. Latencies in seconds, one per good reply."""

    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    batch_sizes: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    #: Processor seconds of the load generator itself.
    generator_cpu: float = 0.0
    #: Most connections in use at a time.
    connections: int = 0


class Connection(asyncio.BufferedProtocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(
        self,
        on_reply: Callable[[Connection, int, int], None],
        on_lost: Callable[[Connection, str], None],
    ) -> None:
        self._on_reply = on_reply
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._head: wire.ReplyHead | None = None
        self._early = bytearray()
        self._received = 0
        self._reason = "reset"
        self.busy = False
        #: Loop time the latency counts from: the sending, or in an open loop the intended time.
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        self._on_lost(self, self._reason)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        return wire.READ_BUFFER

    @property
    def usable(self) -> bool:
        """Whether another request can be sent on it."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, since: float) -> None:
        """Send a ready-made request; its latency counts from loop time `since`."""
        self.since = since
        self.busy = True
        self._head = None
        self._received = 0
        if self._transport is not None:
            self._transport.write(request)

    def give_up(self, reason: str) -> None:
        """Drop the connection; `on_lost` is called with `reason`."""
        self._reason = reason
        if self._transport is not None:
            self._transport.abort()

    def buffer_updated(self, nbytes: int) -> None:
        self._received += nbytes
        head = self._head
        if head is None:
            head = self._read_head(nbytes)
            if head is None:
                return
        if head.size is None:
            tail = (bytes(self._early) + bytes(wire.READ_BUFFER[:nbytes]))[-5:]
            self._early[:] = tail
            finished = tail == b"0\r\n\r\n"
        else:
            finished = self._received >= head.size
        if finished:
            self.busy = False
            self._early.clear()
            if head.closes:
                self.give_up("closed")
            self._on_reply(self, head.status, head.batch_size)

    def _read_head(self, nbytes: int) -> wire.ReplyHead | None:
        try:
            if self._early or not self.busy:
                self._early += wire.READ_BUFFER[:nbytes]
                head = wire.read_reply_head(self._early, len(self._early))
            else:
                head = wire.read_reply_head(wire.READ_BUFFER, nbytes)
        except wire.WireError:
            self.give_up("protocol")
            return None
        if head is None:
            if not self._early:
                self._early += wire.READ_BUFFER[:nbytes]
            return None
        self._head = head
        self._early.clear()
        return head


class _Run:
    """What both loops share: the window, the recording, the watchdog."""

    def __init__(self, target: wire.Endpoint, requests: list[bytes], timeout: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.recording = Recording()
        self._target = target
        self._requests = requests
        self._next = 0
        self._timeout = timeout
        self._connections: set[Connection] = set()
        self._recording_on = False
        self._over = False
        self._quiet = asyncio.Event()

    def next_request(self) -> bytes:
        self._next = (self._next + 1) % len(self._requests)
        return self._requests[self._next]

    def record(self, status: int, batch_size: int, latency: float) -> None:
        if not self._recording_on:
            return
        if status == 200:
            self.recording.latencies.append(latency)
            if batch_size:
                self.recording.batch_sizes[batch_size] += 1
        else:
            self.recording.errors[str(status)] += 1

    def record_error(self, reason: str) -> None:
        if self._recording_on:
            self.recording.errors[reason] += 1

    async def open(
        self,
        on_reply: Callable[[Connection, int, int], None],
        on_lost: Callable[[Connection, str], None],
    ) -> Connection:
        _, connection = await self.loop.create_connection(
            lambda: Connection(on_reply, on_lost), self._target.host, self._target.port
        )
        self._connections.add(connection)
        self.recording.connections = max(self.recording.connections, len(self._connections))
        return connection

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.check_quiet()

    def check_quiet(self) -> None:
        """After the end: set the event once no connection waits for an answer."""
        if self._over and not any(connection.busy for connection in self._connections):
            self._quiet.set()

    async def finish(self) -> None:
        """Send no more and take the answers still owed, for at most the timeout.

        Closing the connections at once would leave the upstream a queue of abandoned calls, which would slow the
        next run: 64 direct clients leave 1.3 s of work.
        """
        self._over = True
        self.check_quiet()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), self._timeout)

    def watch(self) -> None:
        """Give up what takes longer than the timeout."""
        now = self.loop.time()
        for connection in list(self._connections):
            if connection.busy and now - connection.since > self._timeout:
                connection.give_up("timeout")
        if not self._over:
            self.loop.call_later(_WATCHDOG_PERIOD, self.watch)

    def start_window(self) -> tuple[float, float]:
        # A collection that walks the whole heap would show as latency of the service.
        gc.collect()
        gc.freeze()
        self._recording_on = True
        return time.perf_counter(), time.process_time()

    def end_window(self, started: tuple[float, float]) -> None:
        self._recording_on = False
        self.recording.seconds = time.perf_counter() - started[0]
        self.recording.generator_cpu = time.process_time() - started[1]

    async def close(self) -> None:
        self._over = True
        for connection in list(self._connections):
            connection.give_up("ended")
        # A transport calls `connection_lost` in the next turn of the loop.
        await asyncio.sleep(0)


class _ClosedLoop(_Run):
    """Clients that each wait for their reply, think, and send again."""

    think = 0.0

    async def start(self, clients: int, think: float) -> None:
        self.think = think
        self.watch()
        opened = [await self.open(self._replied, self._lost) for _ in range(clients)]
        for connection in opened:
            self._send(connection)

    def _send(self, connection: Connection) -> None:
        if not self._over:
            connection.send(self.next_request(), self.loop.time())

    def _replied(self, connection: Connection, status: int, batch_size: int) -> None:
        self.record(status, batch_size, self.loop.time() - connection.since)
        if self._over:
            self.check_quiet()
        if not connection.usable or self._over:
            return
        if self.think:
            self.loop.call_later(self.think, self._send, connection)
        else:
            self._send(connection)

    def _lost(self, connection: Connection, reason: str) -> None:
        self.forget(connection)
        if self._over:
            return
        if reason != "closed":
            self.record_error(reason)
        self.loop.call_later(_RECONNECT_DELAY if reason != "closed" else 0, self._reconnect_soon)

    def _reconnect_soon(self) -> None:
        if not self._over:
            self._task = self.loop.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        try:
            self._send(await self.open(self._replied, self._lost))
        except OSError:
            self.record_error("connect")
            self.loop.call_later(_RECONNECT_DELAY, self._reconnect_soon)


class _OpenLoop(_Run):
    """Requests that are sent on schedule, whether or not earlier ones have been answered."""

    def begin(self, times: list[float], max_connections: int, warmup: float) -> None:
        self._zero = self.loop.time()
        self._measured_from = self._zero + warmup
        self._times: Iterator[float] = iter(times)
        self._max_connections = max_connections
        self._idle: list[Connection] = []
        self._backlog: deque[float] = deque()
        self._opening = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.outstanding = 0
        self.sent_all = asyncio.Event()
        self.answered_all = asyncio.Event()
        self.watch()
        self._arm()

    def _arm(self) -> None:
        offset = next(self._times, None)
        if offset is None:
            self.sent_all.set()
            self._check_end()
        else:
            self.loop.call_at(self._zero + offset, self._due, self._zero + offset)

    def _due(self, intended: float) -> None:
        self.outstanding += 1
        if self._idle:
            # The connection used last has the warmest caches.
            self._idle.pop().send(self.next_request(), intended)
        else:
            self._backlog.append(intended)
            if len(self._connections) + self._opening < self._max_connections:
                self._open_one()
        self._arm()

    def _open_one(self) -> None:
        self._opening += 1
        task = self.loop.create_task(self._connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        try:
            connection = await self.open(self._replied, self._lost)
        except OSError:
            self._opening -= 1
            if self._backlog:
                self._backlog.popleft()
                self._ended(error="connect")
            return
        self._opening -= 1
        self._use(connection)

    def _use(self, connection: Connection) -> None:
        if self._backlog:
            connection.send(self.next_request(), self._backlog.popleft())
        else:
            self._idle.append(connection)

    def _replied(self, connection: Connection, status: int, batch_size: int) -> None:
        if connection.since >= self._measured_from:
            self.record(status, batch_size, self.loop.time() - connection.since)
        self._ended()
        if connection.usable:
            self._use(connection)

    def _lost(self, connection: Connection, reason: str) -> None:
        self.forget(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if connection.busy and not self._over:
            self._ended(error=reason)
        if self._backlog and not self._over:
            self._open_one()

    def _ended(self, error: str | None = None) -> None:
        self.outstanding -= 1
        if error is not None:
            self.record_error(error)
        self._check_end()

    def _check_end(self) -> None:
        if self.sent_all.is_set() and self.outstanding == 0:
            self.answered_all.set()


async def closed_loop(
    target: wire.Endpoint,
    requests: list[bytes],
    *,
    clients: int,
    seconds: float,
    warmup: float = 0.0,
    think: float = 0.0,
    timeout: float = 30.0,
    on_window: Callable[[bool], None] = lambda _: None,
) -> Recording:
    """Let `clients` send again as soon as they are answered (and have thought), for `seconds`.

    Replies that arrive inside the window after `warmup` count. `on_window` is called with True when the window
    opens and with False when it closes, while the clients still send: it can read processor clocks.
    Returns when what was under way has been answered too (uncounted).
    Raises OSError where the service cannot be reached at the start.
    """
    run = _ClosedLoop(target, requests, timeout)
    await run.start(clients, think)
    await asyncio.sleep(warmup)
    on_window(True)
    started = run.start_window()
    await asyncio.sleep(seconds)
    run.end_window(started)
    on_window(False)
    await run.finish()
    await run.close()
    return run.recording


async def open_loop(
    target: wire.Endpoint,
    requests: list[bytes],
    times: list[float],
    *,
    warmup: float = 0.0,
    max_connections: int = 1000,
    timeout: float = 30.0,
    on_window: Callable[[bool], None] = lambda _: None,
) -> Recording:
    """Send at `times` (seconds from now, ascending), whatever is still unanswered.

    Every latency counts from the intended time, so a stall of the service (or of the generator) shows
    in the latency of each request that was due meanwhile: no coordinated omission. Requests intended before
    `warmup` are not counted. After the last, waits for the answers, at most `timeout` seconds; missing ones are errors.
    """
    run = _OpenLoop(target, requests, timeout)
    run.begin(times, max_connections, warmup)
    await asyncio.sleep(warmup)
    on_window(True)
    started = run.start_window()
    await run.sent_all.wait()
    sent_after = time.perf_counter() - started[0]
    try:
        await asyncio.wait_for(run.answered_all.wait(), timeout)
    except TimeoutError:
        run.recording.errors["unanswered"] += run.outstanding
    run.end_window(started)
    on_window(False)
    # The rate is that of the schedule: the wait for the last answers is not part of it.
    run.recording.seconds = max(sent_after, 1e-9)
    await run.close()
    return run.recording
