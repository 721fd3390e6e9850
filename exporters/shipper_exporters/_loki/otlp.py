"""Logs for Loki's OTLP endpoint: what any OTLP endpoint gets, but each record with a time of its own.

Of records of a stream with the same time, line and metadata Loki keeps one, and takes the time they were observed for records
that have none. All lines of a batch were observed together: of two that are the same one would be lost. So such records are
numbered in nanoseconds from there, as in a push.
"""

from __future__ import annotations

import dataclasses

from shipper.contracts import Batch, Request, Signal
from shipper.otlp.messages import parse
from shipper_exporters._otlp.request import OtlpBody, encode

_LATEST = (1 << 64) - 1  # that a record can say


def otlp_body(request: Request) -> OtlpBody:
    """The body of a request. Raises `MalformedOtlp`."""
    batches = tuple(dataclasses.replace(batch, payload=_timed(batch)) for batch in request.batches)
    return encode(dataclasses.replace(request, batches=batches), "http/protobuf", "gzip")


def _timed(batch: Batch) -> bytes:
    message = parse(Signal.LOGS, batch.payload)
    free_ns = 0
    for resource in message.resource_logs:
        for scope in resource.scope_logs:
            for log in scope.log_records:
                if not log.time_unix_nano:
                    at = max(log.observed_time_unix_nano or batch.cut.observed_ns, free_ns)
                    log.time_unix_nano = min(at, _LATEST)
                    free_ns = at + 1
    data: bytes = message.SerializeToString()
    return data
