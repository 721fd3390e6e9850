"""The route a request matched, as its framework wrote it (``/items/{id}``): known only after, or while, it is handled.

A raw path never stands in for it: as a span name or a metric label it would be a new one for every item.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, MutableMapping
from typing import Any

from shipper.sdk.web import chain


def table(*apps: Any) -> Any:
    """The first of ``apps``, or of what they wrap, that has Starlette's list of routes."""
    return next((part for part in chain.walk(*apps) if chain.is_a(part, "starlette.applications", "Starlette")), None)


def starlette(scope: MutableMapping[str, Any], app: Any, path: str, mount: str) -> str | None:
    """The route of a request that Starlette or FastAPI handled; ``path`` and ``mount`` (root_path) are what came in.

    ``app`` is what `table` found. Inside a mounted application the scope tells the route within it, and only raw text of
    the mount; Starlette before 1.0, and middleware that copies the scope, tell nothing. Then the routes are matched again.
    """
    template = getattr(scope.get("route"), "path", None)
    root = scope.get("root_path", "")
    if isinstance(template, str) and (app is None or root in (mount, getattr(app, "root_path", ""))):
        return (root.rstrip("/") + template) or "/"
    if app is None:
        return None
    root = getattr(app, "root_path", "") or mount
    fresh = {key: scope[key] for key in ("type", "method", "headers") if key in scope}
    fresh |= {"path": path, "root_path": root, "path_params": {}}
    return _match(app.routes, fresh, root.rstrip("/"), template if isinstance(template, str) else None)


def _match(routes: Iterable[Any], scope: dict[str, Any], before: str, known: str | None) -> str | None:
    """The template of the first route that matches, through mounts; where it is ``known``, only the mounts are asked for."""
    partial = None
    for route in routes:
        verdict, child = route.matches(scope)
        if verdict.name == "NONE":
            continue
        template = before + getattr(route, "path", "")
        if chain.is_a(route, "starlette.routing", "Mount") or chain.is_a(route, "starlette.routing", "Host"):
            return _match(route.routes or (), {**scope, **child}, template, known) or template or None
        if contexts := getattr(route, "effective_route_contexts", None):  # what FastAPI's include_router leaves behind
            template = known or _match(contexts(), scope, "", None) or ""
            return before + template
        template = (before + known) if known else template
        if verdict.name == "FULL":
            return template or "/"
        partial = partial or template
    return partial


def flask(environ: dict[str, Any]) -> str | None:
    """The rule of the request that Flask is handling right now, if it is the one of ``environ``."""
    module = sys.modules.get("flask")
    if module is None or not module.has_request_context() or module.request.environ is not environ:
        return None
    rule = module.request.url_rule
    return str(environ.get("SCRIPT_NAME", "")) + rule.rule if rule is not None else None


def django(request: Any) -> str | None:
    """The pattern of the view that Django chose for ``request``."""
    match = getattr(request, "resolver_match", None)
    route = getattr(match, "route", None)
    if not isinstance(route, str) or match is None:
        return None
    return "/" + route.lstrip("^/")
