"""One HTTP/2 connection, as much of it as calls with one message each way need (RFC 9113); frames and states are h2's.

Several calls share a connection. Bodies are written in slices as fast as the other side makes room for them, and each slice
is a sign of progress. A server that says goodbye (GOAWAY) still gets to answer what it has taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import ConnectionInputs, ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from shipper_exporters._http.exchange import READ_STEP
from shipper_exporters._way.failures import TLS_ALERT
from shipper_exporters._way.words import excerpt

_SLICE = 1 << 17  # bytes that are handed over at once
_FRAME_TYPE, _SETTINGS = 3, 4  # where a frame has its type, and that of the first one (RFC 9113, 3.4)


class NotHttp2(Exception):
    """What answers speaks another protocol, or breaks the rules of this one."""


class SpeaksTls(NotHttp2):
    """What answers says in TLS that it did not understand."""


class Gone(Exception):
    """The connection is closed, or was never one. The cause, an exception or words, is its argument."""


class NotTaken(Exception):
    """The server has certainly not looked at this call (RFC 9113, 8.7): it may be made again elsewhere."""


class Reset(Exception):
    """The server gave the call up. ``code``: one of `h2.errors.ErrorCodes`."""

    def __init__(self, code: int) -> None:
        super().__init__(f"HTTP/2 error {ErrorCodes(code).name if code in list(ErrorCodes) else code}")
        self.code = code


@dataclass(slots=True)
class Call:
    """A call under way, and what came of it. Names of headers are in lower case."""

    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False  # whether the other side may have all of the request
    limit: int = 0
    number: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None
    progress: Callable[[], None] = lambda: None

    def end(self, failure: Exception | None = None) -> None:
        """It is over; the first reason counts."""
        if not self.ended.is_set():
            self.failure = failure
            self.ended.set()


class Http2(asyncio.Protocol):
    """A connection as asyncio drives it."""

    def __init__(self) -> None:
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        # a connection that was said goodbye to is not closed yet: what was taken before is still answered
        machine = self._h2.state_machine
        machine._transitions = machine._transitions | {
            (ConnectionState.CLIENT_OPEN, ConnectionInputs.RECV_GOAWAY): (None, ConnectionState.CLIENT_OPEN)
        }
        self._calls: dict[int, Call] = {}
        self._transport: asyncio.Transport | None = None
        self._room = asyncio.Event()  # set whenever more may be sent than before
        self._writable = asyncio.Event()
        self._writable.set()
        self.retired = False
        """No further call may be made on it."""
        self._heard = asyncio.Event()  # the other side began to speak, or is gone
        self._failure: Exception | None = None
        self._answered = False  # to a call, at least once

    @property
    def calls(self) -> int:
        """How many are under way."""
        return len(self._calls)

    def takes_more(self) -> bool:
        """Whether another call may be made now."""
        return not self.retired and len(self._calls) < self._h2.remote_settings.max_concurrent_streams

    async def opened(self) -> None:
        """Return once the other side began to speak as it must. Raises `NotHttp2` and `Gone`.

        A server that turns us away, for our certificate or for speaking something else, says so here; written to it first, a
        request would only find a broken pipe.
        """
        await self._heard.wait()
        if self._failure is not None:
            raise self._failure

    def retire(self) -> None:
        """Make no further calls; close when those under way are done."""
        self.retired = True
        if not self._calls:
            self.close()

    def close(self) -> None:
        """Close it now; calls under way fail."""
        self.retired = True
        if self._transport is not None:
            self._transport.close()

    async def call(
        self, call: Call, headers: Iterable[tuple[str, str]], data: bytes, progress: Callable[[], None]
    ) -> None:
        """Make a call; what came back is in ``call`` afterwards. Raises `NotHttp2`, `Gone`, `NotTaken` and `Reset`."""
        number = call.number = self._h2.get_next_available_stream_id()
        self._calls[number] = call
        call.progress = progress
        try:
            self._h2.send_headers(number, list(headers), end_stream=not data)
            self._flush()
            await self._send(call, data)
            await call.ended.wait()
        except ProtocolError as error:  # the connection is in no state to send
            raise Gone(error) from None
        finally:
            self._calls.pop(number, None)
            self._stop(number)
            if self.retired and not self._calls:
                self.close()
        if call.failure is not None:
            raise call.failure

    async def _send(self, call: Call, data: bytes) -> None:
        view, at = memoryview(data), 0
        while at < len(data) and not call.ended.is_set():
            end = min(len(data), at + _SLICE)
            while at < end and (room := self._room_for(call)) > 0:  # less than none where it was taken back
                size = min(room, end - at)
                self._h2.send_data(call.number, bytes(view[at : at + size]), end_stream=at + size == len(data))
                at += size
            call.whole = at == len(data)
            self._flush()
            self._room.clear()
            await self._either(self._writable, call)
            if at < end:
                await self._either(self._room, call)
            call.progress()
        call.whole = call.whole or not data

    def _room_for(self, call: Call) -> int:
        return min(self._h2.local_flow_control_window(call.number), self._h2.max_outbound_frame_size)

    async def _either(self, event: asyncio.Event, call: Call) -> None:
        """Wait for an event, or the end of the call."""
        if event.is_set() or call.ended.is_set():
            return
        waits = [asyncio.create_task(event.wait()), asyncio.create_task(call.ended.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _stop(self, number: int) -> None:
        """Tell the other side that nothing more comes, where it does not know that yet."""
        if self._transport is None or self._transport.is_closing():
            return
        try:
            self._h2.reset_stream(number, ErrorCodes.CANCEL)
        except ProtocolError:  # it is over on both sides, as it is after each good answer
            return
        self._flush()

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        self._h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 0, SettingCodes.ENABLE_PUSH: 0})
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._fail(Gone(exc) if exc is not None else Gone())

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if not self._heard.is_set() and len(data) > _FRAME_TYPE and data[_FRAME_TYPE] != _SETTINGS:
            self._fail(SpeaksTls() if data.startswith(TLS_ALERT) else NotHttp2(excerpt(data, 80)))
            self.close()
            return
        self._heard.set()
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as error:
            said = excerpt(f"{type(error).__name__}: {error}", 80)
            self._fail(Gone(said) if self._answered else NotHttp2(said))
            self.close()
            return
        for event in events:
            self._happened(event)
        self._room.set()
        self._flush()

    def _happened(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self._goodbye(event)
            return
        call = self._calls.get(getattr(event, "stream_id", None) or 0)
        if isinstance(event, DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        if call is None:
            return
        if isinstance(event, ResponseReceived):
            self._answered = True
            call.headers = _text(event.headers or ())
        elif isinstance(event, TrailersReceived):
            call.trailers = _text(event.headers or ())
        elif isinstance(event, DataReceived):
            size = len(call.body)
            call.body += event.data or b""
            if len(call.body) // READ_STEP > size // READ_STEP:
                call.progress()
            if len(call.body) > call.limit:
                call.end()
        elif isinstance(event, StreamEnded):
            call.end()
        elif isinstance(event, StreamReset):
            code = int(event.error_code or 0)
            call.end(NotTaken() if code == ErrorCodes.REFUSED_STREAM else Reset(code))

    def _goodbye(self, event: ConnectionTerminated) -> None:
        """The server is about to close the connection; calls it has not begun with may be made elsewhere."""
        self.retired = True
        code = int(event.error_code or 0)
        last = event.last_stream_id or 0
        for number, call in self._calls.items():
            if number > last:
                call.end(NotTaken())
            elif code:
                call.end(Reset(code))
        if not self._calls:
            self.close()

    def _fail(self, failure: Exception) -> None:
        self.retired = True
        self._failure = self._failure or failure
        self._heard.set()
        for call in self._calls.values():
            call.end(failure)
        self._writable.set()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _text(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        key, said = name.decode("utf-8", "replace").lower(), value.decode("utf-8", "replace")
        found[key] = f"{found[key]},{said}" if key in found else said
    return found


def answered(headers: Mapping[str, str]) -> int:
    """The HTTP status of an answer; 0 for one that makes no sense."""
    status = headers.get(":status", "")
    return int(status) if status.isascii() and status.isdigit() and len(status) == 3 else 0
