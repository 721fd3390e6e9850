"""What runtimes write: the quick way over a chunk says the same as line by line, and formats are not guessed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.shape.containers import FORMATS, OUTPUTS, Format, Recognised, recognise
from shipper.shape.runtime_times import any_stamps_of, epoch_ns, stamps_of

STAMPS = st.sampled_from(
    [
        "2026-11-23T02:00:00.123456789Z",
        "2026-11-23T02:00:01.123456789Z",
        "2026-11-23T02:00:00.123456789+00:00",
        "2026-11-23T02:00:00.123456789-07:30",
        "2026-11-23T02:00:00.1Z",
        "2026-11-23T02:00:00Z",
        "2026-02-30T02:00:00.123456789Z",
    ]
)
TEXT = st.one_of(
    st.sampled_from(["", "x", 'a "q" <b> & c', "tab\t\x1b[1m", "back\\slash", "stdout F x", "\u2028 \x7f é"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=12),
)
LINES = st.lists(st.tuples(STAMPS, st.sampled_from(OUTPUTS), TEXT, st.integers(0, 12)), max_size=12)


def cri(stamp: str, output: str, text: str, oddity: int) -> bytes:
    """A line; a few are odd."""
    tag = {0: "P", 1: "F:tag"}.get(oddity, "F")
    return b"odd\n" if oddity == 2 else f"{stamp} {output} {tag} {text}\n".encode()


def docker(stamp: str, output: str, text: str, oddity: int) -> bytes:
    """A line; a few are odd."""
    line: dict[str, object] = {"log": text + "\n", "stream": output}
    if oddity == 0:
        line["log"] = text
    if oddity == 1:
        line["attrs"] = {"tag": "t"}
    encoded = json.dumps({**line, "time": stamp}, separators=(",", ":"), ensure_ascii=oddity < 6)
    for raw in "<>&":
        encoded = encoded.replace(raw, f"\\u{ord(raw):04x}")  # as Go does
    return b"odd\n" if oddity == 2 else encoded.encode() + b"\n"


@pytest.mark.parametrize(("name", "write"), [("cri", cri), ("docker", docker)])
@settings(max_examples=150, deadline=None)
@given(lines=LINES)
def test_a_chunk_at_once_says_what_its_lines_say(
    name: str, write: Callable[..., bytes], lines: list[tuple[str, str, str, int]]
) -> None:
    """Where a chunk holds nothing unusual, its texts, times and further fields are those of its lines one by one."""
    chunk = b"".join(write(*line) for line in lines)
    for output in OUTPUTS:
        units = list(FORMATS[name].units(chunk, output))
        assert [unit.end for unit in units] == sorted({unit.end for unit in units})
        whole = FORMATS[name].whole(chunk, output)
        if whole is None:
            continue
        assert not any(unit.strange for unit in units)
        assert whole.texts == [unit.text for unit in units]
        assert whole.times == [unit.time for unit in units]
        assert (whole.extra or {}) == {index: unit.extra for index, unit in enumerate(units) if unit.extra}
        begun = FORMATS[name].unfinished(chunk, output)
        assert begun is None or any(unit.start == begun and not unit.ends for unit in units)


@pytest.mark.parametrize("format", FORMATS.values(), ids=lambda each: each.name)
@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_lines_of_something(format: Format, data: bytes) -> None:
    """Nothing is raised by any bytes, and what is not in the format is one of stdout's lines, as it is."""
    for output in OUTPUTS:
        format.whole(data + b"\n", output)
        format.unfinished(data, output)
        assert 0 <= format.last(data, output) <= len(data)
        for unit in format.units(data, output):
            assert unit.text in data
    format.may_become(data)
    recognise(data, expected=True)


def test_times_of_every_kind() -> None:
    """Decimals, zones and days that there are not: nanoseconds since the epoch, or 0 where that cannot be told."""
    assert stamps_of([b"1970-01-01T00:00:01.000000002Z"]) == [1_000_000_002]
    assert any_stamps_of([b"1970-01-01T00:00:01.5Z", b"1970-01-01T02:00:00+02:00"]) == [1_500_000_000, 0]
    assert any_stamps_of([b"1970-01-01T00:00:01.5Z", b"soon"]) == [1_500_000_000, 0]
    assert stamps_of([b"2026-02-30T00:00:01.000000002Z"]) == [0]
    assert stamps_of([b"1970-01-01T00:00:01.5Z", b"1970-01-01T00:00:01.25Z"]) == [1_500_000_000, 1_250_000_000]
    assert stamps_of([b"1970-01-01T00:00:01.5Z", b"1970-01-01T00:00:01.5"]) is None
    assert stamps_of([b"1970-01-01T00:00:01Z"]) is None
    assert stamps_of([b"1970-01-01T02:00:01.000000002+02:00"]) == [1_000_000_002]
    assert stamps_of([b"1970-01-01T02:00:01.000000002+02:00", b"1970-01-01T02:00:01.000000002+01:00"]) is None
    assert stamps_of([]) == any_stamps_of([]) == []
    assert epoch_ns(b"1969-12-31T23:59:59", b"Z") == -1


CRI = b"2026-11-23T02:00:00.5Z stderr F text\n"
DOCKER = b'{"log":"text\\n","stream":"stdout","time":"2026-11-23T02:00:00Z"}\n'


@pytest.mark.parametrize(
    ("beginning", "expected", "name", "certain"),
    [
        (CRI, False, "cri", True),
        (CRI * 3 + CRI[:10], False, "cri", True),
        (CRI[:40], False, "cri", True),
        (CRI[:23], False, None, False),
        (CRI + b"odd\n", False, None, True),
        (b"odd\n" + CRI, True, "cri", True),
        (b"odd\n", True, None, True),
        (DOCKER * 2, False, "docker", True),
        (DOCKER[:30], False, None, False),
        (DOCKER.replace(b'"time"', b'"when"'), False, None, True),
        (b"odd\n" + DOCKER, True, "docker", True),
        (b'{"log":"' + b"x" * (1 << 20), False, None, True),
        (b"", False, None, False),
        (b"\n", False, None, True),
    ],
)
def test_formats_are_recognised_by_all_lines_or_by_place(
    beginning: bytes, expected: bool, name: str | None, certain: bool
) -> None:
    """Every line must be in the format, or one where only runtimes write; half a line may yet become one."""
    found = recognise(beginning, expected=expected)
    assert found == Recognised(None if name is None else FORMATS[name], certain)
