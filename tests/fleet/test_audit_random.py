"""Whatever happens to an archive's objects, the audit names exactly what is not there any more."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.fleet.archive import Archive
from shipper.fleet.audit import audit
from shipper.fleet.records import Selection, pieces
from shipper.intervals import IntervalSet
from shipper.testing.clock import START_WALL_NS
from tests.fleet.archives import LINE, SECOND, Writer, batch, claims, gateway_batch, statement

HOSTS = ("a", "b")
NOW = START_WALL_NS + 3600 * SECOND
Slice = tuple[str, int, int]  # host, first line, last line


@dataclass(frozen=True)
class Mishap:
    """What becomes of one object."""

    what: str  # "", "object gone", "list gone", "list torn", "cut short", "flipped"
    where: int


@st.composite
def slices(draw: st.DrawFn) -> list[Slice]:
    """Batches that together have every line of every host, in a random order, some of them twice."""
    found: list[Slice] = []
    for host in HOSTS:
        at = 0
        for size in draw(st.lists(st.integers(1, 6), min_size=1, max_size=5)):
            found.append((host, at, at + size))
            at += size
    again = draw(st.lists(st.sampled_from(found), max_size=3))
    return draw(st.permutations([*found, *again]))


MISHAPS = st.builds(
    Mishap,
    st.sampled_from(["", "", "object gone", "list gone", "list torn", "cut short", "flipped"]),
    st.integers(0, 10_000),
)


def befall(writer: Writer, number: int, mishap: Mishap) -> set[int]:
    """Let it happen to the numbered object; the entries of its range list that are not sound any more."""
    path, listing = writer.objects()[number], writer.range_lists()[number]
    entries = json.loads(listing.read_bytes())["batches"]
    content = bytearray(path.read_bytes())
    where = mishap.where % len(content)
    if mishap.what == "flipped":
        content[where] ^= 0xFF
        path.write_bytes(content)
        return {at for at, entry in enumerate(entries) if entry["offset"] <= where < entry["offset"] + entry["length"]}
    if mishap.what == "cut short":
        path.write_bytes(content[:where])
        return {at for at, entry in enumerate(entries) if entry["offset"] + entry["length"] > where}
    if mishap.what == "object gone":
        path.write_bytes(b"")
    elif mishap.what == "list gone":
        listing.write_bytes(b"{")
    elif mishap.what == "list torn":
        listing.write_bytes(listing.read_bytes()[: mishap.where % 50])
    else:
        return set()
    return set(range(len(entries)))


@settings(max_examples=30, deadline=None)
@given(slices(), st.lists(MISHAPS, min_size=20, max_size=20), st.integers(1, 4), st.booleans())
def test_exactly_what_is_gone_is_missing(batches: list[Slice], mishaps: list[Mishap], size: int, relayed: bool) -> None:
    """Missing are exactly the ranges of which no sound copy is left, archived is the rest, and cat prints just that."""
    with tempfile.TemporaryDirectory() as root:
        writer = Writer(Path(root), {"compression": "none"})
        groups = [batches[at : at + size] for at in range(0, len(batches), size)]
        reached = 0
        for group in groups:
            made = [batch(*one) for one in group]
            if relayed:
                made = [gateway_batch(made, reached)]
                reached = made[0].cut.end
            writer.put(*made)
        left = {host: IntervalSet() for host in HOSTS}
        lines = dict.fromkeys(HOSTS, 0)
        copies: dict[Slice, int] = {}
        for number, group in enumerate(groups):
            unsound = befall(writer, number, mishaps[number % len(mishaps)])
            for at, (host, first, last) in enumerate(group):
                lines[host] = max(lines[host], last)
                if at not in unsound:
                    left[host].add(first * LINE, last * LINE)
                    copies[host, first, last] = copies.get((host, first, last), 0) + 1
        ends = {"ends_life": True, "outcome": "drained"}
        writer.put(*(statement(host, "farewell", 9, [claims(lines[host])], **ends) for host in HOSTS))

        report = audit(root, now_ns=NOW)
        found = {life.host: life for life in report.lives if life.host in HOSTS}
        for host in HOSTS:
            (stream,) = found[host].streams
            whole = (0, lines[host] * LINE)
            assert stream.missing_ranges == left[host].missing(*whole)
            assert stream.counts.missing == sum(end - start for start, end in left[host].missing(*whole)) // LINE
            assert stream.counts.archived == left[host].total() // LINE
            assert stream.counts.read == lines[host]
            stored = sum((last - first) * times for (of, first, last), times in copies.items() if of == host)
            assert stream.counts.duplicates == stored - stream.counts.archived
        assert report.ok == (not any(mishaps[number % len(mishaps)].what for number in range(len(groups))))

        archive = Archive.open(root)
        printed = dict.fromkeys(HOSTS, 0)
        for piece in pieces(archive, archive.index(), Selection(), kinds=["data"], damaged=lambda _: None):
            host = piece.entry.life.removeprefix("life-")
            assert piece.entry.start >= printed[host]  # in the order of the stream, nothing twice
            printed[host] = piece.entry.end
            left[host].remove(piece.entry.start, piece.entry.end)
        assert not any(left.values())
