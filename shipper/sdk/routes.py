"""The route a request matched, as its framework wrote it (``/items/{id}``): known only after, or while, it is handled.

A raw path never stands in for it: as a span name or a metric label it would be a new one for every item.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, MutableMapping
from typing import Any

from shipper.sdk import chain


def starlette(scope: MutableMapping[str, Any], app: Any, path: str, mount: str) -> str | None:
    """The route of a request that Starlette or FastAPI handled; ``path`` and ``mount`` (root_path) are what came in.

    Inside a mounted application the scope tells the route within it, and only raw text of the mount. Starlette before
    1.0 tells no route at all. In both cases the routes are matched once more.
    """
    route = scope.get("route")
    template = getattr(route, "path", None)
    if isinstance(template, str) and scope.get("root_path", "") in (mount, _own_root(scope)):
        return (scope.get("root_path", "").rstrip("/") + template) or "/"
    if route is None and "endpoint" not in scope:
        return None  # nothing matched, or another framework
    top = next((part for part in chain.walk(app) if hasattr(part, "routes") and hasattr(part, "router")), None)
    if top is None:
        return template if isinstance(template, str) else None
    fresh = {key: scope[key] for key in ("type", "method", "headers") if key in scope}
    root = getattr(top, "root_path", "") or mount
    return _match(top.routes, fresh | {"path": path, "root_path": root, "path_params": {}}, root.rstrip("/"))


def _own_root(scope: MutableMapping[str, Any]) -> str:
    return getattr(scope.get("app"), "root_path", "") or ""


def _match(routes: Iterable[Any], scope: dict[str, Any], before: str) -> str | None:
    """The template of the first route that matches fully, through mounts; one that matches but for its method, else."""
    partial = None
    for route in routes:
        verdict, child = route.matches(scope)
        if verdict.name == "NONE":
            continue
        template = before + getattr(route, "path", "")
        inner = getattr(route, "routes", None)
        if inner:
            return _match(inner, {**scope, **child}, template) or (template or None)
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
