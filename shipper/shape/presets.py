"""How stack traces of some languages look, as rules for joining lines.

Each says what goes on with the event before it: a logger writes its own line first, and what it adds of an exception follows.
A trace that nobody logged begins an event where its first line tells (``Exception in thread``, ``panic:``, ``Unhandled
exception``); a bare Python traceback does not tell, and is joined to the line before.
"""

from __future__ import annotations

from collections.abc import Mapping

_MORE = r"^(?:\s|$"  # what is indented, and blank lines inside
_QUALIFIED = r"(?:[A-Za-z_][\w$]*\.)+[A-Z][\w$]*(?::|$)"  # the class of an exception, with its package

PRESETS: Mapping[str, str] = {
    "java": rf"{_MORE}|Caused by: |Suppressed: |Wrapped by: |\.\.\. \d+ |{_QUALIFIED})",
    "python": (
        rf"{_MORE}|Traceback \(most recent call last\):|During handling of |The above exception was |{_QUALIFIED}"
        r"|[A-Za-z_]\w*(?:Error|Exception|Warning|Interrupt|Exit|Iteration|ExceptionGroup)(?:: |:?$))"
    ),
    "go": (
        rf"{_MORE}|goroutine \d+ |\[signal |created by |exit status \d|\[recovered\]|\.\.\.additional frames"
        r"|[^\s()]+\.(?:\([^\s()]+\)\.)?[^\s()]*\([^()]*\)$)"
    ),
    "dotnet": rf"{_MORE}|---> |--- End of |{_QUALIFIED})",
    "ruby": rf"{_MORE}|from |Caused by|[^\s:]+\.e?rb:\d+:in [`'][^']*'$|[A-Z]\w*(?:::[A-Z]\w*)*(?:Error|Exception) \()",
}
"""Regular expressions of the kind ``continuation``, by language."""
