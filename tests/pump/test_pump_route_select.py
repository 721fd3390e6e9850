"""What a route takes of a request: the records that an honest decoder says, in their envelopes, byte for byte."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.contracts import Batch, Cut, Member, Signal, StreamKind
from shipper.errors import MalformedOtlp
from shipper.otlp.decode import attributes_of, parse, value_of
from shipper.otlp.encode import LineEncoder, export_logs, log_record, resource, scope
from shipper.otlp.messages import count, envelopes
from shipper.otlp.wire import field
from shipper.pump.route_rules import Condition, Pattern
from shipper.pump.route_select import select, take
from tests.otlp.otlp_strategies import LEVELS, requests, signals

NOW = 1_800_000_000_000_000_000
GLOBS = st.sampled_from(["*", "?", "", "a*", "[0-9]*", "true", "-*"]).map(lambda glob: Pattern([glob]))
KEYS = st.sampled_from(["release", "host", "", "ключ"])


def conditions(deep: bool = True) -> st.SearchStrategy[Condition]:
    """Any condition, with others that may not hold."""
    return st.builds(
        Condition,
        severity=st.none() | st.sampled_from([(1, 24), (9, 12), (17, 24), (1, 8)]),
        event_name=st.none() | GLOBS,
        attributes=st.lists(st.tuples(KEYS, GLOBS), max_size=2).map(tuple),
        resource=st.lists(st.tuples(KEYS, GLOBS), max_size=1).map(tuple),
        scope=st.none() | GLOBS,
        never=st.lists(conditions(False), max_size=1).map(tuple) if deep else st.just(()),
    )


def fits(pattern: Pattern, value: Any) -> bool:
    """The plain meaning of a glob."""
    if isinstance(value, list):
        return any(fits(pattern, each) for each in value)
    if value is None or isinstance(value, dict | bytes):
        return False
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return any(fnmatchcase(text, glob) for glob in pattern.globs)


def holds(condition: Condition, signal: Signal, resource: Any, scope: Any, unit: Any) -> bool:
    """The plain meaning of a condition, on decoded messages."""
    if condition.severity is not None:
        least, most = condition.severity
        if signal is not Signal.LOGS or not least <= unit.severity_number <= most:
            return False
    if condition.event_name is not None and not (signal is Signal.LOGS and fits(condition.event_name, unit.event_name)):
        return False
    for key, glob in condition.attributes:
        pairs = unit.attributes if signal is not Signal.METRICS else []
        if not any(pair.key == key and fits(glob, value_of(pair.value)) for pair in pairs):
            return False
    known = attributes_of(resource.attributes)
    if not all(key in known and fits(glob, known[key]) for key, glob in condition.resource):
        return False
    if condition.scope is not None and not fits(condition.scope, scope.name):
        return False
    return not any(holds(other, signal, resource, scope, unit) for other in condition.never)


def expected(any_of: tuple[Condition, ...], signal: Signal, message: Any) -> Any:
    """The message with what should be left in it; envelopes without anything are gone."""
    outer, inner, units = LEVELS[signal]
    for resources in list(getattr(message, outer)):
        for scopes in list(getattr(resources, inner)):
            kept = [
                unit
                for unit in getattr(scopes, units)
                if any(holds(one, signal, resources.resource, scopes.scope, unit) for one in any_of)
            ]
            if len(kept) == len(getattr(scopes, units)) and kept:
                continue
            del getattr(scopes, units)[:]
            getattr(scopes, units).extend(kept)
            if not kept:
                getattr(resources, inner).remove(scopes)
        if not getattr(resources, inner):
            getattr(message, outer).remove(resources)
    return message


@settings(max_examples=80, deadline=None)
@given(data=st.data(), signal=signals, any_of=st.lists(conditions(), min_size=1, max_size=2).map(tuple))
def test_it_takes_what_a_decoder_would(data: st.DataObject, signal: Signal, any_of: tuple[Condition, ...]) -> None:
    """Of any request, for any condition: the same records in the same envelopes, and their right number."""
    message = data.draw(requests(signal, unknown=False))
    raw = message.SerializeToString(deterministic=True)
    there = count(signal, raw)
    taken = select(any_of, signal, raw, there)
    wanted = expected(any_of, signal, parse(signal, raw))
    if there:
        assert taken.records == count(signal, wanted.SerializeToString())
    if taken.records and taken.payload != raw:
        assert units_of(signal, parse(signal, taken.payload)) == units_of(signal, wanted)


def units_of(signal: Signal, message: Any) -> list[tuple[bytes, bytes, bytes]]:
    """Each unit with its resource and scope."""
    return [
        (found.SerializeToString(), scope.SerializeToString(), unit.SerializeToString(deterministic=True))
        for found, scope, units in envelopes(signal, message)
        for unit in units
    ]


def lines(*texts: bytes) -> bytes:
    """Plain lines as the tailer sends them."""
    encoder = LineEncoder(resource({"service.name": "shop"}), scope("shipper.file"))
    return encoder.encode(list(texts), NOW)


def only(**asked: Any) -> tuple[Condition, ...]:
    """One condition, as a route has it."""
    return (Condition(**asked),)


def logs(*records: bytes, service: str = "shop", name: str = "app") -> bytes:
    """Log records of one resource and scope."""
    return export_logs(resource({"service.name": service}), scope(name), list(records))


def log(severity: int = 0, **attributes: Any) -> bytes:
    """One log record."""
    return log_record(time_ns=NOW, observed_ns=NOW, body="x", severity=severity, attributes=attributes)


def test_plain_lines_have_no_severity_and_no_attributes() -> None:
    """They are in no range of severities, and a condition that may not hold finds nothing in them."""
    data = lines(b"one", b"two \x0a\x04code\x12", b"")
    assert select(only(severity=(1, 24)), Signal.LOGS, data, 3).records == 0
    assert select(only(attributes=(("code", Pattern(["*"])),)), Signal.LOGS, data, 3).records == 0
    left = only(never=only(severity=(17, 24)))
    assert select(left, Signal.LOGS, data, 3).payload is data


def test_where_nothing_is_taken_the_resource_is_left() -> None:
    """So the range can be sent to who proves ranges, without a record."""
    taken = select(only(severity=(17, 24)), Signal.LOGS, lines(b"a"), 1)
    assert taken.records == 0
    assert taken.payload == field(1, field(1, resource({"service.name": "shop"})))


@pytest.mark.parametrize(
    ("glob", "value", "held"),
    [
        ("/pay*", "/pay/card", True),
        ("/pay*", "/PAY", False),
        ("500", 500, True),
        ("5??", 503, True),
        ("true", True, True),
        ("1.5", 1.5, True),
        ("-3", -3, True),
        ("b", ["a", "b"], True),
        ("*", {"a": 1}, False),
        ("a[b", "a[b", True),
        ("", "", True),
        ("a*", "b\na", False),
        ("a*c", "a\nc", True),
    ],
)
def test_a_glob_is_held_against_the_whole_value_as_text(glob: str, value: Any, held: bool) -> None:
    """Numbers and switches by how they are written, lists by each of their values."""
    taken = select(only(attributes=(("k", Pattern([glob])),)), Signal.LOGS, logs(log(k=value), log(other=1)), 2)
    assert taken.records == held


def test_an_attribute_is_looked_for_only_among_attributes() -> None:
    """The same bytes in a text, or a key inside of another value, are no attribute."""
    looks_like = log_record(time_ns=NOW, observed_ns=NOW, body="\n\x01k\x12\x03\n\x01v", attributes={"m": {"k": "v"}})
    assert select(only(attributes=(("k", Pattern(["v"])),)), Signal.LOGS, logs(looks_like, log(k="v")), 2).records == 1


def test_a_record_that_cannot_be_understood_is_kept() -> None:
    """Nobody may leave out what nobody can read."""
    broken = log(k="v") + b"\x32\x7f"
    assert select(only(attributes=(("k", Pattern(["w"])),)), Signal.LOGS, logs(broken, log(k="v")), 2).records == 1


def test_what_tells_of_a_life_is_never_left_out() -> None:
    """Statements that came through a Collector have no kind; they are known by their scope."""
    data = logs(log(9), name="shipper.account") + logs(log(9))
    taken = select(only(severity=(17, 24)), Signal.LOGS, data, 2)
    assert taken.records == 1
    assert b"shipper.account" in taken.payload


def test_members_of_a_gateway_s_batch_stay_consistent() -> None:
    """Each names the bytes and records that are left of it, and how many were left out; those of accounts stay whole."""
    parts = [logs(log(9), log(17), service="a"), logs(log(9), service="b"), logs(log(9), service="c"), logs(log(17))]
    kinds = [StreamKind.DATA, StreamKind.DATA, StreamKind.ACCOUNT, StreamKind.DATA]
    members, at = [], 0
    for number, (part, kind) in enumerate(zip(parts, kinds, strict=True)):
        held = count(Signal.LOGS, part)
        members.append(Member(f"life{number}", "s", 0, 10, held, at, len(part), NOW, kind))
        at += len(part)
    batch = Batch("g", "s", Signal.LOGS, Cut(0, 99, 0, 99, 5, NOW), b"".join(parts), members=tuple(members))
    taken = take(only(severity=(17, 24)), batch)
    assert [(member.records, member.filtered) for member in taken.members] == [(1, 1), (0, 1), (1, 0), (1, 0)]
    assert (taken.cut.records, taken.cut.filtered, taken.cut.consumed) == (3, 2, 5)
    assert (taken.key, [member.life for member in taken.members]) == (batch.key, [member.life for member in members])
    at = 0
    for member in taken.members:
        assert member.offset == at
        piece = taken.payload[at : at + member.length]
        assert count(Signal.LOGS, piece) == member.records
        assert piece, "a range of which nothing is taken is sent, too"
        at += member.length
    assert at == len(taken.payload)


def test_what_strangers_sent_between_members_is_looked_at_too() -> None:
    """It has no ranges to prove, so where nothing of it is taken nothing is left of it."""
    own, stranger = logs(log(17)), logs(log(9), service="stranger")
    member = Member("life", "s", 0, 10, 1, len(stranger), len(own), NOW)
    cut = Cut(0, 99, 0, 99, 4, NOW)
    batch = Batch("g", "s", Signal.LOGS, cut, stranger + own + logs(log(9), log(21)), members=(member,))
    taken = take(only(severity=(17, 24)), batch)
    assert [(one.offset, one.records) for one in taken.members] == [(0, 1)]
    assert (taken.cut.records, taken.cut.filtered) == (2, 2)
    assert taken.payload == own + logs(log(21))
    nothing = export_logs(resource({}), scope("none"), [])
    cut = Cut(0, 99, 0, 99, 1, NOW)
    member = Member("life", "s", 0, 10, 1, len(nothing), len(own), NOW)
    whole = Batch("g", "s", Signal.LOGS, cut, nothing + own, members=(member,))
    assert take(only(severity=(17, 24)), whole) is whole, "what has no record stays where all others do"


@pytest.mark.parametrize("wrong", [b"\x0a\xff\xff\xff", b"\x0a\x05\x12\x7fabc"])
def test_bytes_that_are_no_request_are_refused(wrong: bytes) -> None:
    """Whoever asks learns that nobody can tell what is in them."""
    with pytest.raises(MalformedOtlp):
        select(only(severity=(1, 2)), Signal.LOGS, wrong, 1)
