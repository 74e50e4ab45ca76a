"""The embedded Kafka on a TCP port: sockets, clock and wire format around the state machine of `broker`.

    async with EmbeddedBroker(now=utc_now) as broker:
        broker.create_topic("orders", partitions=5)
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)

As in Kafka a connection's requests are served one at a time and in order: a long poll holds up what comes after it
on the same connection.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct
from dataclasses import dataclass, replace
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Self, cast

from activator.local.broker.broker import Broker
from activator.local.broker.config import BrokerConfig
from activator.local.broker.messages import APIS
from activator.local.broker.protocol import ApiKey, Body, Disconnect, ErrorCode, Outcome, Reply, Request
from activator.local.broker.record_format import AiokafkaRecordFormat
from activator.local.broker.wire import STRING, WireError, skip_tagged_fields

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from types import TracebackType

    from activator.local.broker.faults import Faults
    from activator.local.broker.log import PartitionLog

_log = logging.getLogger(__name__)

_SIZE = struct.Struct(">i")
_HEADER = struct.Struct(">hhi")
_CLIENT_ID_SIZE = struct.Struct(">h")
_LARGEST_REQUEST_BYTES = 100 * 1024 * 1024  # Kafka's socket.request.max.bytes
_FIRST_VERSION_THAT_NAMES_ITS_SOFTWARE = 3  # ApiVersions, KIP-511
_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?")
_ACCEPT_AGAIN_SECONDS = 1.0  # after running out of file descriptors
_MIB = 1024 * 1024
_READ_AHEAD_BYTES = _MIB  # of requests that wait behind one being served


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is needed to write the answer to a request."""

    api: ApiKey
    version: int
    correlation_id: int


class EmbeddedBroker:
    """An in-memory Kafka on `host` and `port` (0: any free one) for the length of an `async with` block.

    `now` gives the time that records are stamped and retained by; it is read once, deadlines go by the event loop's
    clock from there. Everything here is to be called on the event loop that runs it.

    Raises:
        OSError: on entering, when the port cannot be had.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        host: str = "127.0.0.1",
        port: int = 0,
        config: BrokerConfig | None = None,
    ) -> None:
        self.host = host
        self.port = port
        # Session and member ids must differ from those of a broker that ran on this port before; they guard nothing.
        self._broker = Broker(config or BrokerConfig(), AiokafkaRecordFormat(), Random())  # noqa: S311
        self._now = now
        self._zero_ms = 0.0
        self._listener: socket.socket | None = None
        self._resume: asyncio.TimerHandle | None = None
        self._connecting: set[asyncio.Task[object]] = set()
        self._connections: dict[int, _Connection] = {}
        self._tokens = count(1)
        self._timer: asyncio.TimerHandle | None = None
        self._told_of_eviction = False

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._zero_ms = self._now().timestamp() * 1000 - loop.time() * 1000
        self._listener = socket.create_server((self.host, self.port))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._broker.start(self.host, self.port, self.now_ms())
        self._arm()
        self._listen(self._listener)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._resume is not None:
            self._resume.cancel()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
        if self._connecting:
            await asyncio.wait(self._connecting)
        self.disconnect_all()
        while self._connections:  # noqa: ASYNC110 - a connection that is aborted is lost in the next turn of the loop
            await asyncio.sleep(0)

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`, as clients take it."""
        return f"{self.host}:{self.port}"

    @property
    def faults(self) -> Faults:
        """The scripted faults; add and remove them at any time."""
        return self._broker.faults

    @property
    def memory_bytes(self) -> int:
        """What all record batches take in memory."""
        return self._broker.memory_bytes

    def create_topic(self, name: str, partitions: int = 1, configs: dict[str, str | None] | None = None) -> None:
        """Make a topic without a client.

        Raises:
            ApiError: with the code that CreateTopics answers.
        """
        self._broker.create_topic(name, partitions, configs)
        self._deliver(self._broker.flush())

    def delete_topic(self, name: str) -> None:
        """Remove a topic.

        Raises:
            ApiError: UNKNOWN_TOPIC_OR_PARTITION.
        """
        self._broker.delete_topic(name)
        self._deliver(self._broker.flush())

    def truncate(self, topic: str, partition: int, offset: int) -> None:
        """Lose the records from `offset` on, as a broker does that comes back without its last writes.

        Raises:
            ApiError: UNKNOWN_TOPIC_OR_PARTITION.
        """
        self._broker.truncate(topic, partition, offset)
        self._deliver(self._broker.flush())

    def expire_offsets(self, group_id: str) -> None:
        """Forget a group's committed offsets now, as if their retention were over."""
        self._broker.expire_offsets(group_id)

    def log(self, topic: str, partition: int) -> PartitionLog:
        """One partition, to be looked at.

        Raises:
            ApiError: UNKNOWN_TOPIC_OR_PARTITION.
        """
        return self._broker.log(topic, partition)

    def disconnect_all(self) -> None:
        """Close every connection, as a broker does that is restarted."""
        for connection in tuple(self._connections.values()):
            connection.abort()

    def _listen(self, listener: socket.socket) -> None:
        """Take connections from now on.

        `loop.create_server` would do, but it loses a client that it accepted in the turn in which it is closed: neither
        served nor closed, that client waits for an answer for ever.
        """
        self._resume = None
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            client, _ = listener.accept()
        except BlockingIOError:  # it is gone again
            return
        except OSError as error:
            _log.warning("a connection to %s could not be taken, the next in 1 s: %s", self.bootstrap_servers, error)
            loop.remove_reader(listener)
            self._resume = loop.call_later(_ACCEPT_AGAIN_SECONDS, self._listen, listener)
            return
        client.setblocking(False)
        task = loop.create_task(loop.connect_accepted_socket(lambda: _Connection(self, loop), client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    # -- between the connections and the state machine ------------------------------------------------------------

    def now_ms(self) -> float:
        """The broker's time in milliseconds since the epoch."""
        return self._zero_ms + asyncio.get_running_loop().time() * 1000

    def _opened(self, connection: _Connection) -> int:
        token = next(self._tokens)
        self._connections[token] = connection
        return token

    def _closed(self, token: int) -> None:
        self._connections.pop(token, None)
        self._broker.cancel(token)

    def _handle(self, request: Request) -> None:
        self._deliver(self._broker.handle(request, self.now_ms()))
        self._arm()
        if self._broker.has_evicted and not self._told_of_eviction:
            self._told_of_eviction = True
            _log.warning(
                "the embedded Kafka keeps %g MiB of records and is full: from now on the oldest of all topics go, "
                "whatever their retention and whether or not they were read; for more, name a Kafka of your own: "
                "wakegate local --bootstrap-servers",
                self._broker.config.memory_bytes / _MIB,
            )

    def _run_due(self) -> None:
        self._timer = None
        self._deliver(self._broker.run_due(self.now_ms()))
        self._arm()

    def _deliver(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            connection = self._connections.get(outcome.token)
            match outcome:
                case _ if connection is None:  # it closed while its request waited
                    pass
                case Reply(_, body):
                    connection.reply(body)
                case Disconnect():
                    connection.abort()

    def _arm(self) -> None:
        """Wake up at the next deadline; a timer that is armed too early finds nothing due and arms itself anew."""
        deadline_ms = self._broker.next_deadline_ms()
        if deadline_ms is None:
            return
        when = (deadline_ms - self._zero_ms) / 1000
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._run_due)


class _Connection(asyncio.Protocol):
    """One client: frames in, one request at a time, frames out."""

    def __init__(self, broker: EmbeddedBroker, loop: asyncio.AbstractEventLoop) -> None:
        self._broker = broker
        self._loop = loop
        self._buffer = bytearray()
        self._asked: _Asked | None = None
        self._writable = True
        self._token = 0
        self._client_host = ""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")  # None where the client is gone already
        self._client_host = f"/{peer[0]}" if peer else ""
        self._token = self._broker._opened(self)  # noqa: SLF001 - the two halves of this file

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        self._transport = None
        self._buffer.clear()
        self._broker._closed(self._token)  # noqa: SLF001

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._asked is not None or not self._writable:
            if len(self._buffer) > _READ_AHEAD_BYTES and self._transport is not None:
                self._transport.pause_reading()
            return
        self._next_request()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._next_request()

    def abort(self) -> None:
        """Close at once, whatever is unsent."""
        if self._transport is not None:
            self._transport.abort()

    def _next_request(self) -> None:
        """Serve the next whole frame in the buffer, if no other request is being served."""
        if self._asked is not None or not self._writable or self._transport is None:
            return
        frame = self._take_frame()
        if frame is not None:
            self._serve(memoryview(frame))
        # Without a whole frame more is read however much there is: nothing else would ever complete it.
        if not self._transport.is_reading() and (frame is None or len(self._buffer) <= _READ_AHEAD_BYTES):
            self._transport.resume_reading()

    def _take_frame(self) -> bytes | None:
        """The next whole frame, out of the buffer; one that is too large ends the connection."""
        if len(self._buffer) < _SIZE.size:
            return None
        (size,) = _SIZE.unpack_from(self._buffer)
        if not 0 <= size <= _LARGEST_REQUEST_BYTES:
            _log.warning("closed %s: it announced a request of %d bytes", self._client_host, size)
            self.abort()
            return None
        end = _SIZE.size + size
        if len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as view:
            frame = bytes(view[_SIZE.size : end])
        del self._buffer[:end]
        return frame

    def _serve(self, frame: memoryview) -> None:
        try:
            request = self._decode(frame)
            if request is not None:
                self._broker._handle(request)  # noqa: SLF001
        except (WireError, ValueError, IndexError, struct.error) as error:
            _log.warning("closed %s: not a request this broker knows: %s", self._client_host, error)
            self.abort()
        except Exception:  # noqa: BLE001 - one client's request must not end the broker
            _log.exception("closed %s: a request could not be served", self._client_host)
            self.abort()

    def _decode(self, frame: memoryview) -> Request | None:
        """The request in a frame; ApiVersions is answered here, for versions are a matter of the wire."""
        key, version, correlation_id = _HEADER.unpack_from(frame)
        api = APIS.get(key)
        if api is None or (version not in api.versions and key != ApiKey.API_VERSIONS):
            raise WireError(f"API key {key} in version {version}")
        self._asked = _Asked(api.key, version, correlation_id)
        if version not in api.versions:
            self._answer_versions(ErrorCode.UNSUPPORTED_VERSION, 0)
            return None
        (size,) = _CLIENT_ID_SIZE.unpack_from(frame, _HEADER.size)
        position = _HEADER.size + _CLIENT_ID_SIZE.size
        client_id = STRING.decode(frame[position : position + max(0, size)])
        position += max(0, size)
        if version >= api.flexible:
            position = skip_tagged_fields(frame, position)
        body, _ = api.request.codec(version).read(frame, position)
        if key == ApiKey.API_VERSIONS:
            named = version < _FIRST_VERSION_THAT_NAMES_ITS_SOFTWARE or all(
                _SOFTWARE.fullmatch(body[part]) for part in ("client_software_name", "client_software_version")
            )
            self._answer_versions(ErrorCode.NONE if named else ErrorCode.INVALID_REQUEST, version)
            return None
        return Request(self._token, api.key, version, client_id, self._client_host, body)

    def _answer_versions(self, error: ErrorCode, version: int) -> None:
        """The versions spoken; who asks in one that is too new gets them in version 0 and asks again (KIP-511)."""
        if self._asked is not None:
            self._asked = replace(self._asked, version=version)
        known = () if error == ErrorCode.INVALID_REQUEST else APIS.values()
        keys = [
            {
                "api_key": api.key,
                # Like Kafka 4: old librdkafka looks for Produce v0 to learn what else a broker can do.
                "min_version": 0 if api.key == ApiKey.PRODUCE else api.first,
                "max_version": api.last,
            }
            for api in known
        ]
        self.reply({"error_code": error, "api_keys": keys})

    def reply(self, body: Body | None) -> None:
        """Answer the request that is being served (None: without a word), and go on to the next."""
        asked, self._asked = self._asked, None
        if asked is None or self._transport is None:
            return
        if body is not None:
            api = APIS[asked.api]
            chunks = [_SIZE.pack(asked.correlation_id)]
            if asked.version >= api.flexible and asked.api != ApiKey.API_VERSIONS:  # its header never has tags
                chunks.append(b"\0")
            api.response.codec(asked.version).write(body, chunks)
            payload = b"".join(chunks)
            self._transport.write(_SIZE.pack(len(payload)) + payload)
        if self._buffer:
            self._loop.call_soon(self._next_request)
