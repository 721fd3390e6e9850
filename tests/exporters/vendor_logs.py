"""Log records for tests of what becomes of them at vendors that have a form of their own for an entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

from shipper.contracts import Batch, Cut, Request, Signal
from shipper.otlp.encode import AttributeValue, LineEncoder, export_logs, log_record, resource, scope
from shipper.testing.streams import LIFE

AT = 1_700_000_000_123_456_789
IDENTITY: Mapping[str, AttributeValue] = {
    "service.name": "checkout",
    "service.version": "1.2.3",
    "deployment.environment.name": "production",
    "shipper.generation": "g-17",
    "shipper.life.id": LIFE,
    "host.name": "ip-10-0-0-1",
    "host.id": "i-0abc",
}

_CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.lists(st.text(_CHARACTERS, max_size=12) | st.sampled_from(["\x7f", "\ufdd0", '"\\']))
"""Lines of any text, and often of what JSON has its own way with."""

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(_CHARACTERS, max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.", max_size=3), inner, max_size=3),
    max_leaves=8,
)
"""What a body or an attribute can be."""


def lines(texts: Sequence[str], identity: Mapping[str, AttributeValue] = IDENTITY) -> bytes:
    """Plain lines of one file."""
    return LineEncoder(resource(identity), scope("shipper.file")).encode([text.encode() for text in texts], AT)


def row(identity: Mapping[str, AttributeValue] = IDENTITY, **fields: object) -> bytes:
    """One record with these fields; see `log_record`."""
    record = log_record(**{"time_ns": AT, "observed_ns": AT + 1, "body": "text", **fields})  # type: ignore[arg-type]
    return export_logs(resource(identity), scope("app"), [record])


def one_batch(payload: bytes, signal: Signal = Signal.LOGS) -> Request:
    """A request that is one batch with this payload."""
    return Request("id", signal, (Batch(LIFE, "s", signal, Cut(0, 10, 0, 10, 1000, AT), payload),))
