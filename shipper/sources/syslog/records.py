"""Messages to LogRecords, under the resource that each belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from shipper.contracts import Signal
from shipper.events import Reporter, Unparsed
from shipper.otlp.encode import AttributeValue, log_attribute, resource, scope
from shipper.otlp.wire import field, fixed64_field
from shipper.shape.text import is_utf8
from shipper.sources.batch import Batch, Envelope
from shipper.sources.file.lines import INCOMPLETE, LAST, PART, readable
from shipper.sources.syslog.framing import Piece
from shipper.sources.syslog.parse import Message, Parser

SCOPE = "shipper.syslog"
_SCOPE = scope(SCOPE)
_FRAME = 256 << 10  # bytes of records in a frame, about
_EXAMPLE = 120  # characters of a message that is shown
NOTHING = Message(b"", b"", "", "")
"""Where no message goes on."""


class Origin(NamedTuple):
    """Where a message came from. ``local``: a socket of this machine. ``peer``: another machine's address, or empty.

    ``pid``: of the process that wrote it, as the kernel knows it; 0 where it does not say.
    """

    local: bool = False
    peer: str = ""
    pid: int = 0


class Records:
    """Makes records of one receiver. ``attributes``: the resource of all of them; empty in a gateway, where host and
    application of each message are its resource.
    """

    def __init__(self, parser: Parser, attributes: Mapping[str, AttributeValue], name: str, report: Reporter) -> None:
        self._parser = parser
        self._common: Envelope | None = (Signal.LOGS, resource(attributes), _SCOPE) if attributes else None
        self._name = name
        self._report = report

    def encode(
        self, found: Iterator[tuple[Piece, Origin]], now: int, before: Message = NOTHING
    ) -> tuple[Batch, Message]:
        """The records of the next pieces, as many as fit a frame; none when there are no more.

        ``before``: the message whose parts go on, as the last call returned it.
        """
        batch, size = Batch(), 0
        problems: Counter[str] = Counter()
        examples: dict[str, bytes] = {}
        observed = fixed64_field(11, now)
        for piece, origin in found:
            if piece.part < 2:
                before = self._parser.parse(piece.data, now, local=origin.local)
                body = before.body
                if before.problem:
                    problems[before.problem] += 1
                    examples.setdefault(before.problem, piece.data)
            else:
                body = piece.data
            group = batch.group(self._common or _envelope(before.hostname, before.appname))
            content = b"".join((before.fields, _body(body), _marks(piece), _origin(origin), observed))
            group.add(content)
            size += len(content)
            if size >= _FRAME:
                break
        for problem, count in problems.items():
            example = repr(examples[problem][:_EXAMPLE].decode("utf-8", "replace"))
            self._report(Unparsed(self._name, problem, count, example))
        return batch, before


def _body(text: bytes) -> bytes:
    if is_utf8(text):
        return field(5, field(1, text))
    shown, original = readable(text)
    return field(5, field(1, shown)) + original


def _marks(piece: Piece) -> bytes:
    """What tells that it is not the whole message."""
    marks = log_attribute(PART, piece.part) + log_attribute(LAST, piece.last) if piece.part else b""
    return marks + INCOMPLETE if piece.cut_off else marks


@lru_cache(1024)
def _origin(origin: Origin) -> bytes:
    peer = log_attribute("network.peer.address", origin.peer) if origin.peer else b""
    return peer + log_attribute("process.pid", origin.pid) if origin.pid else peer


@lru_cache(1024)
def _envelope(hostname: str, appname: str) -> Envelope:
    stated = {"host.name": hostname, "service.name": appname}
    return Signal.LOGS, resource({key: value for key, value in stated.items() if value}), _SCOPE
