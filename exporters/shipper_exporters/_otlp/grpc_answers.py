"""What the status of an OTLP/gRPC call means (opentelemetry-proto ``docs/specification.md``, Failures and throttling).

As over HTTP more patient than the specification: what a person can mend, and what may pass, is never given up. A message that is
too large has no status of its own in gRPC; it is told by the words of the libraries that servers are made with.
"""

from __future__ import annotations

import re

from shipper.contracts import Accepted, Signal
from shipper.errors import DeliveryError, MalformedOtlp, Rejected, Retryable, TooLarge, Unusable
from shipper.otlp.answer import parse_response
from shipper.otlp.wire import fields, read_varint
from shipper_exporters._http.exchange import MAX_WAIT, excerpt
from shipper_exporters._http.grpc import Reply
from shipper_exporters._otlp import answers as http
from shipper_exporters._otlp.answers import Busy

INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED = 3, 5, 7, 8
OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 11, 12, 13, 14, 16
_NAMES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
_MISCONFIGURED = frozenset({NOT_FOUND, PERMISSION_DENIED, UNIMPLEMENTED, UNAUTHENTICATED})
_REFUSED = frozenset({INVALID_ARGUMENT, 6, 9})  # beside it ALREADY_EXISTS and FAILED_PRECONDITION
# gRPC in Go and C, Java, .NET, Rust; a gateway of ours; the metadata that lists many batches
_TOO_LARGE = re.compile(
    r"larger than (max|the limit|\d)|exceeds (the )?max|length too large|too large|metadata size exceeds", re.IGNORECASE
)
_UNREADABLE = re.compile(r"unmarshal|deserializ|invalid protobuf", re.IGNORECASE)  # gRPC's own, before OTLP is reached
_RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"


def passing(reply: Reply) -> bool:
    """Whether a status speaks of the moment only."""
    if reply.code is None:
        return http.passing(reply.status)
    return reply.code != 0 and reply.code not in _MISCONFIGURED | _REFUSED


def success(signal: Signal, message: bytes, where: str) -> Accepted:
    """What an answer with status OK acknowledges. Raises `Unusable` when its message is not OTLP's."""
    try:
        rejected, said = parse_response(signal, message, "")
    except MalformedOtlp as error:
        raise Unusable(f"{where} answered OK with something that is not OTLP ({excerpt(error.problem)})") from None
    return Accepted(rejected, excerpt(said))


def failure(reply: Reply, where: str, wall_ns: int) -> DeliveryError:
    """What a call that did not end with OK means."""
    if reply.code is None:
        return _from_http(reply, where, wall_ns)
    code, said = reply.code, excerpt(reply.message)
    name = _NAMES[code] if code < len(_NAMES) else f"status {code}"
    reason = f"{where} answered {name}" + (f": {said}" if said else "")
    if "grpc-encoding" in reply.message:  # gRPC's own words in Go (UNIMPLEMENTED) and C (INTERNAL)
        return Unusable(f"{reason}; it does not take this compression, set another")
    if code in _MISCONFIGURED:
        return Unusable(reason)
    wait = retry_info(reply.details)
    if (_oversize(code, reply.message) and wait is None) or http.ABOVE_BURST.search(reply.message):
        return TooLarge(reason)
    relayed = http.RELAYED.search(reply.message)
    if relayed:  # by a Collector that forwards while we wait, from a destination over HTTP
        return TooLarge(reason) if relayed[1] == "413" else Rejected(reason, isolate=True)
    if code in _REFUSED or (code == INTERNAL and _UNREADABLE.search(reply.message)):
        return Rejected(reason, isolate=code in (INVALID_ARGUMENT, INTERNAL))
    if wait is None:
        wait = _pushback(reply)
    return (Retryable if code == UNAVAILABLE and wait is None else Busy)(reason, wait)


def retry_info(details: bytes) -> float | None:
    """Seconds to wait by a google.rpc.RetryInfo in a google.rpc.Status; None without one that makes sense."""
    try:
        for number, _, _, start, stop in fields(details, 0, len(details)):
            if number == 3 and (wait := _in_any(details[start:stop])) is not None:
                return wait
    except (MalformedOtlp, IndexError):
        pass  # details are an extra: the status counts all the same
    return None


def _in_any(data: bytes) -> float | None:
    """The delay in a google.protobuf.Any; None when it holds something else."""
    parts = {number: data[start:stop] for number, _, _, start, stop in fields(data, 0, len(data))}
    if parts.get(1) != _RETRY_INFO:
        return None
    info = parts.get(2, b"")
    for number, _, _, start, stop in fields(info, 0, len(info)):
        if number == 1:
            return _duration(info[start:stop])
    return 0.0


def _duration(data: bytes) -> float | None:
    given = {1: 0, 2: 0}
    for number, _, _, start, stop in fields(data, 0, len(data)):
        given[number] = read_varint(data, start, stop)[0]
    seconds = given[1] + given[2] / 1e9
    return None if given[1] >> 63 or given[2] >> 63 else min(seconds, MAX_WAIT)


def _pushback(reply: Reply) -> float | None:
    """gRPC's own way to say when to come again (gRFC A6)."""
    text = reply.metadata.get("grpc-retry-pushback-ms", "")
    return min(int(text[:12]) / 1000, MAX_WAIT) if text.isascii() and text.isdigit() else None


def _oversize(code: int, message: str) -> bool:
    """OUT_OF_RANGE is what servers in Rust say."""
    return code in (RESOURCE_EXHAUSTED, OUT_OF_RANGE) and _TOO_LARGE.search(message) is not None


def _from_http(reply: Reply, where: str, wall_ns: int) -> DeliveryError:
    """An answer of somebody who does not speak gRPC, such as a balancer in front of who does."""
    if 200 <= reply.status < 300:
        what = excerpt(reply.metadata.get("content-type", "")) or "nothing said"
        return Unusable(
            f"{where} answered {reply.status} with something that is not gRPC ({what}): {excerpt(reply.data, 80)}"
        )
    headers = {name.title(): value for name, value in reply.metadata.items()}
    return http.failure(reply.status, headers, reply.data, where, wall_ns)
