"""What a series declared: its resources, scopes and routes by number. Numbers are never reassigned within a series."""

from __future__ import annotations

from collections.abc import Mapping

from shipper.errors import MalformedOtlp
from shipper.handoff.frame import Frame, Kind, unpack_resource
from shipper.otlp.wire import fields
from shipper.sources.services.merging import Merging, texts_of
from shipper.sources.services.settings import MAX_DECLARATION, MAX_DECLARED, MAX_ROUTES

DECLARATIONS = frozenset({Kind.RESOURCE, Kind.SCOPE, Kind.ROUTE})


class Declared:
    """The declarations of one series, ready to be put around records."""

    def __init__(self, merging: Merging, owner: str) -> None:
        self._merging = merging
        self._owner = owner
        self._resources: dict[int, bytes] = {}
        self._attributes: dict[int, Mapping[str, str]] = {}
        self._scopes: dict[int, bytes] = {}
        self._routes: dict[int, str] = {}
        self._bodies: dict[tuple[int, int], bytes] = {}  # as declared, to be repeated in a segment of our own
        self.fallback = merging.merge(b"", b"", owner)

    def take(self, frame: Frame) -> str:
        """Remember a declaration; an empty text, or what is wrong with it. The first of a number counts."""
        if len(frame.body) > MAX_DECLARATION:
            return f"a declaration of {len(frame.body)} bytes"
        try:
            if frame.kind == Kind.RESOURCE:
                return self._resource(frame.resource, frame.body)
            if frame.kind == Kind.SCOPE:
                return self._scope(frame.scope, frame.body)
        except (MalformedOtlp, ValueError) as error:
            return f"a declaration that is {error}"
        if frame.route and frame.route not in self._routes and len(self._routes) < MAX_ROUTES:
            self._routes[frame.route] = frame.body.decode("utf-8", "replace")
            self._bodies[Kind.ROUTE, frame.route] = frame.body
        return ""

    def _resource(self, number: int, body: bytes) -> str:
        if number in self._resources:
            return ""
        if len(self._resources) >= MAX_DECLARED:
            return f"more than {MAX_DECLARED} resources"
        self._resources[number] = self._merging.merge(*unpack_resource(body), self._owner)
        self._bodies[Kind.RESOURCE, number] = body
        return ""

    def _scope(self, number: int, body: bytes) -> str:
        if number in self._scopes:
            return ""
        if len(self._scopes) >= MAX_DECLARED:
            return f"more than {MAX_DECLARED} scopes"
        for _ in fields(body, 0, len(body)):
            pass
        self._scopes[number] = body
        self._bodies[Kind.SCOPE, number] = body
        return ""

    def resource(self, number: int) -> bytes:
        """The content of the Resource; the host's for a number that was never declared."""
        return self._resources.get(number, self.fallback)

    def scope(self, number: int) -> bytes:
        """The content of the InstrumentationScope; empty for a number that was never declared."""
        return self._scopes.get(number, b"")

    def route(self, number: int) -> str:
        """A route; empty for a number that was never declared."""
        return self._routes.get(number, "")

    def attributes(self, number: int) -> Mapping[str, str]:
        """The attributes of a resource that are text, as they are shipped."""
        if number not in self._attributes:
            self._attributes[number] = texts_of(self.resource(number))
        return self._attributes[number]

    def merge(self, stated: bytes, number: int) -> bytes:
        """The content of a Resource that came within a whole request; what was only guessed stands in the declaration.

        Raises `MalformedOtlp`.
        """
        body = self._bodies.get((Kind.RESOURCE, number))
        return self._merging.merge(stated, unpack_resource(body)[1] if body is not None else b"", self._owner)

    def bodies(self) -> list[tuple[int, int, bytes]]:
        """All declarations as ``(kind, number, body)``, resources first."""
        return [(kind, number, body) for (kind, number), body in sorted(self._bodies.items())]
