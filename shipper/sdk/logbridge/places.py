"""What the log bridge knows beforehand of a record, by the place it is logged at."""

from __future__ import annotations

from shipper.otlp.wire import field, text, varint_field
from shipper.sdk.emit.attributes import Attributes
from shipper.sdk.emit.redact import Texts
from shipper.sdk.logbridge.records import severity_number, severity_text

_CACHED = 4096
Place = tuple[str, int, str | None, int, str]


class Places(dict[Place, tuple[bytes, int]]):
    """By file, line, function and level: the encoded severity and place in the code, and the severity."""

    def __init__(self, code: bool) -> None:
        super().__init__()
        self._code = code
        self._attributes = Attributes(6, Texts())

    def __missing__(self, place: Place) -> tuple[bytes, int]:
        path, line, function, level, level_name = place
        number = severity_number(level)
        out = [varint_field(2, number) if number else b"", field(3, text(severity_text(level_name)))]
        if self._code:
            members = {"code.file.path": path, "code.function.name": function, "code.line.number": line}
            self._attributes.put(out.append, [item for item in members.items() if item[1] is not None])
        found = (b"".join(out), number)
        if len(self) >= _CACHED:
            self.clear()
        self[place] = found
        return found
