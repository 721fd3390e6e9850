"""Regular expressions that take a time in proportion to the text, whatever they and the text are: RE2, not Python's own.

A shipper reads lines that strangers write. Where a text can make a pattern try again and again, one line stops everything;
RE2 (https://github.com/google/re2) has no such text, and finds a hundred words at once as fast as one.
"""

from __future__ import annotations

from typing import Any

from shipper.errors import MissingExtra

EXTRA = "redact"
_ASSERTIONS = frozenset("bBAz")


def compiled(pattern: bytes | str) -> Any:
    """An RE2 to search bytes with; text: of UTF-8, bytes: of single bytes.

    Raises ValueError with RE2's sentence for what is none, `MissingExtra` where RE2 is not installed.
    """
    try:
        import re2
    except ModuleNotFoundError:
        raise MissingExtra("redaction", EXTRA) from None
    options = re2.Options()
    options.log_errors = False
    if isinstance(pattern, bytes):
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        return re2.compile(pattern, options)
    except re2.error as problem:
        said = problem.args[0] if problem.args else problem
        raise ValueError(said.decode(errors="replace") if isinstance(said, bytes) else str(said)) from None


def without_assertions(pattern: str) -> str:
    """``pattern`` where word borders, line ends and beginnings always hold: it matches wherever ``pattern`` does, and more.

    Raw bytes are searched with it, where a text's neighbours are lengths and not what stood beside it.
    Raises ValueError for ``\\Q``, behind which nothing means what it says.
    """
    out: list[str] = []
    at, in_class = 0, False
    while at < len(pattern):
        char, two = pattern[at], pattern[at : at + 2]
        if char == "\\" and len(two) == 2:
            if two == r"\Q":
                raise ValueError(r"\Q...\E is not taken here: escape each character")
            out.append("(?:)" if two[1] in _ASSERTIONS and not in_class else two)
            at += 2
            continue
        if in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
            opening = next(text for text in ("[^]", "[]", "[^", "[") if pattern.startswith(text, at))
            out.append(opening)  # a bracket that comes first does not close
            at += len(opening)
            continue
        elif char in "^$":
            char = "(?:)"
        out.append(char)
        at += 1
    return "".join(out)
