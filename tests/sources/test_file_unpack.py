"""The text of a gzip file by its positions, whatever the file holds and in whatever order it is asked for."""

from __future__ import annotations

import gzip
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.sources.file.unpack import GzipText, Measured, measure


@settings(max_examples=60, deadline=None)
@given(
    members=st.lists(st.binary(max_size=3000), min_size=1, max_size=4),
    reads=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 12_000)), max_size=20),
)
def test_any_range_in_any_order(members: list[bytes], reads: list[tuple[int, int]]) -> None:
    """Any range of the text comes out the same, whatever was read before."""
    packed = b"\0\0".join(gzip.compress(member) for member in members)
    whole = b"".join(members)
    text = GzipText(measure(lambda size, at: packed[at : at + size], len(packed)))
    assert text.measured == Measured(len(packed), len(whole))
    for size, at in reads:
        assert text.read(lambda size, at: packed[at : at + size], size, at) == whole[at : at + size]


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300), where=st.floats(0, 1), what=st.binary(min_size=1, max_size=5), cut=st.booleans())
def test_any_damage_is_survived(data: bytes, where: float, what: bytes, cut: bool) -> None:
    """Whatever happened to it, what was measured can be read, the same each time, and it is never more than there was."""
    packed = gzip.compress(data * 20)
    at = int(where * len(packed))
    packed = packed[:at] if cut else packed[:at] + what + packed[at + len(what) :]

    def read(size: int, position: int) -> bytes:
        return packed[position : position + size]

    measured = measure(read, len(packed))
    assert 0 <= measured.rest <= len(packed)
    text = GzipText(measured)
    whole = text.read(read, 1 << 20, 0)
    assert len(whole) == measured.size
    again = GzipText(measured)
    assert b"".join(again.read(read, 7, at) for at in range(0, measured.size, 7)) == whole


def test_memory_is_bounded() -> None:
    """T-13: a file that unpacks to a thousand times its size is measured and read without being held in memory."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()

    def read(size: int, position: int) -> bytes:
        return packed[position : position + size]

    measured = measure(read, len(packed))
    assert measured.size == 64 << 20
    text = GzipText(measured)
    for at in range(0, measured.size, 8 << 20):
        assert len(text.read(read, 1000, at)) == 1000
    assert len(text._marks) <= 9
    assert len(text._heads) <= 2
