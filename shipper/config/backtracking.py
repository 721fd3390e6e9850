"""Whether a regular expression can take time that doubles with each character of a text.

Python's engine tries every way in which a text can be divided among the repeats of an expression. That is harmless until one
repeat stands in another with nothing between two rounds that the inner one could not match as well: ``(a+)+b`` divides thirty
letters in a billion ways before it finds that there is no ``b``. Such an expression is refused when it is configured, because
one line in a log would stop everything else. It is read off the expression, and does not depend on how fast a machine is.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TypeAlias

Set: TypeAlias = frozenset[int]
Step: TypeAlias = tuple[Any, Any]  # operation and arguments, as the parser of `re` gives them

_MANY = 16  # rounds from which on a repeat counts as one without an end
_ALL: Set = frozenset(range(256))


def explodes(pattern: str) -> bool:
    """Whether the expression, taken as one for bytes, is seen to be of that kind. Raises re.error for what is none."""
    parser: Any = importlib.import_module("re._parser")
    return _sequence(parser.parse(pattern.encode()), may_fail=False)


def _sequence(steps: Sequence[Step], *, may_fail: bool) -> bool:
    """Whether a repeat in ``steps`` is ambiguous. ``may_fail``: what stands behind them may not match."""
    for index, (operation, arguments) in enumerate(steps):
        fails = may_fail or any(map(_can_fail, steps[index + 1 :]))
        for inner, many in _inside(str(operation), arguments):
            if many and fails and _ambiguous(inner):
                return True
            if _sequence(inner, may_fail=fails or many):
                return True
    return False


def _inside(operation: str, arguments: Any) -> Iterator[tuple[Sequence[Step], bool]]:
    """The sequences in a step, and whether each may come many times. A possessive or atomic one never goes back."""
    if operation in ("MAX_REPEAT", "MIN_REPEAT"):
        yield arguments[2], arguments[1] >= _MANY
    elif operation == "SUBPATTERN":
        yield arguments[3], False
    elif operation == "BRANCH":
        yield from ((alternative, False) for alternative in arguments[1])


def _ambiguous(steps: Sequence[Step], others: Sequence[Set] = ()) -> bool:
    """Whether a repeat in the body of a repeat can match all that must be matched in a round besides.

    ``others``: what that is, outside ``steps``.
    """
    for index, (operation, arguments) in enumerate(steps):
        more = [*others, *(_set(step) for at, step in enumerate(steps) if at != index and _can_fail(step))]
        for inner, many in _inside(str(operation), arguments):
            if (many and all(_set_of(inner) & other for other in more)) or _ambiguous(inner, more):
                return True
    return False


def _can_fail(step: Step) -> bool:
    """Whether a step asks for something: a character at least, or a place."""
    operation, arguments = str(step[0]), step[1]
    if operation in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return bool(arguments[0] > 0 and any(map(_can_fail, arguments[2])))
    if operation == "SUBPATTERN":
        return any(map(_can_fail, arguments[3]))
    if operation == "BRANCH":
        return all(any(map(_can_fail, alternative)) for alternative in arguments[1])
    return True


def _set_of(steps: Sequence[Step]) -> Set:
    return frozenset().union(*map(_set, steps)) if len(steps) else frozenset()


def _set(step: Step) -> Set:
    """The characters that a step can match; all of them where that is not easily told."""
    operation, arguments = str(step[0]), step[1]
    if operation == "LITERAL":
        return _both_cases(arguments)
    if operation == "NOT_LITERAL":
        return _ALL - {arguments}
    if operation == "IN":
        return _class(arguments)
    if operation == "SUBPATTERN":
        return _set_of(arguments[3])
    if operation in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return _set_of(arguments[2])
    if operation == "BRANCH":
        return frozenset().union(*map(_set_of, arguments[1]))
    return _ALL


def _class(items: Sequence[Step]) -> Set:
    found: set[int] = set()
    negated = False
    for operation, argument in items:
        kind = str(operation)
        if kind == "NEGATE":
            negated = True
        elif kind == "LITERAL":
            found |= _both_cases(argument)
        elif kind == "RANGE":
            found.update(range(argument[0], argument[1] + 1))
        else:
            found |= _category(str(argument))
    return _ALL - found if negated else frozenset(found)


def _both_cases(character: int) -> Set:
    """A letter may be meant in both cases: whether it is does not matter, they seldom stand apart."""
    return frozenset((character, *chr(character).swapcase().encode("latin-1", "ignore")))


@cache
def _category(name: str) -> Set:
    letter = {"DIGIT": "d", "SPACE": "s", "WORD": "w"}[name.rpartition("_")[2]]
    pattern = re.compile(rb"\%c" % (ord(letter.upper()) if "_NOT_" in name else ord(letter)))
    return frozenset(code for code in range(256) if pattern.match(bytes((code,))))
