"""Recognising what this Shipper wrote itself, so that output which is collected as a log does not go round for ever.

What goes to standard output is collected by the container runtime or by journald, and a file may lie where logs are tailed.
Both come back as records whose body is a line of ours, would be written again, longer each time, and read again. Every line
names the life it is of, and by that it is known. (On a node a line may be of another pod than the one whose output it is: it
then goes round once, as a record of that pod.)
"""

from __future__ import annotations

from functools import lru_cache

from shipper.contracts import Batch, Signal
from shipper.otlp.messages import parse

WORDS = "records that are output of this destination itself, which is collected as a log: exclude it there"


@lru_cache(1024)
def _marks(life: str) -> tuple[bytes, bytes]:
    """What a line of a life has in it: in JSON, and as readable text."""
    return f'"shipper.life.id","value":{{"stringValue":"{life}"'.encode(), text_mark(life).encode()


def text_mark(life: str) -> str:
    """How a readable line ends that is not for a terminal; by it a life's lines are counted, too."""
    return f" life={life}"


def foreign(batch: Batch) -> tuple[bytes, int]:
    """The payload of a batch without lines that its life wrote, and how many those were. Raises `MalformedOtlp`."""
    own = _marks(batch.life)
    if batch.signal is not Signal.LOGS or not any(mark in batch.payload for mark in own):
        return batch.payload, 0
    message = parse(Signal.LOGS, batch.payload)
    left_out = 0
    for resource in message.resource_logs:
        for scope in resource.scope_logs:
            logs = scope.log_records
            kept = [log for log in logs if not any(mark in log.body.string_value.encode() for mark in own)]
            if len(kept) < len(logs):
                left_out += len(logs) - len(kept)
                del logs[:]
                logs.extend(kept)
    return (message.SerializeToString() if left_out else batch.payload), left_out
