"""The checksum of what is spooled."""

from __future__ import annotations

import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.spool import checksum


@given(st.binary(max_size=300), st.binary(max_size=40), st.integers(0, 2**32 - 1))
def test_it_is_the_crc32_of_the_standard_library(data: bytes, more: bytes, start: int) -> None:
    """Whoever wrote a frame, and with whichever library, it is intact to everybody."""
    assert checksum.crc32(data, start) == zlib.crc32(data, start)
    assert checksum.crc32(memoryview(more), checksum.crc32(data)) == zlib.crc32(data + more)


def test_without_the_fast_library_the_standard_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The base install reads and writes the same frames."""
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    checksum._fastest.cache_clear()
    try:
        assert checksum.crc32(b"123456789") == 0xCBF43926
        assert checksum._fastest() is zlib.crc32
    finally:
        checksum._fastest.cache_clear()
