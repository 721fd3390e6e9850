"""``shipper audit --loki URL`` and the like: which backend is meant, how to get in, and the comparison with it."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from shipper.cli.archives import Unusable
from shipper.cli.options import SecondsRange

if TYPE_CHECKING:
    from shipper.fleet.audit import Which
    from shipper.fleet.backends.model import Backend

F = TypeVar("F", bound=Callable[..., Any])
_TAKES: Mapping[str, frozenset[str]] = {
    "loki": frozenset({"token_file", "username", "password_file", "tenant", "selector"}),
    "elasticsearch": frozenset({"token_file", "username", "password_file", "api_key_file", "indexes"}),
    "splunk": frozenset({"token_file", "username", "password_file", "indexes"}),
    "datadog": frozenset({"api_key_file", "app_key_file", "indexes"}),
}
_COMMON = frozenset({"ca_file", "timeout"})
_SECRETS = ("token_file", "username", "password_file", "api_key_file", "app_key_file")
_FLAGS = {"indexes": "--index"}


def backend_options(function: F) -> F:
    """The backends, and what it takes to ask them; the values arrive as one mapping, ``backend``."""

    @functools.wraps(function)
    def wrapped(**given: Any) -> Any:
        names = (*_TAKES, "tenant", "selector", "indexes", *_COMMON, *_SECRETS)
        return function(backend={name: given.pop(name) for name in names}, **given)

    made: Any = wrapped
    for decorator in reversed(_options()):
        made = decorator(made)
    result: F = made
    return result


def _options() -> list[Callable[[Any], Any]]:
    file = click.Path(dir_okay=False)
    return [
        click.option("--loki", metavar="URL", default=None, help="Compare with what a Loki counts."),
        click.option("--elasticsearch", metavar="URL", default=None, help="The same with Elasticsearch or OpenSearch."),
        click.option("--splunk", metavar="URL", default=None, help="The same with Splunk: its API, https://host:8089."),
        click.option(
            "--datadog",
            metavar="[SITE]",
            is_flag=False,
            flag_value="",
            default=None,
            help="The same with Datadog; default site: DD_SITE, or datadoghq.com.",
        ),
        click.option("--token-file", type=file, default="", help="A bearer token for the backend."),
        click.option("--username", default="", metavar="NAME", help="Instead of a token."),
        click.option("--password-file", type=file, default="", help="The password that goes with it."),
        click.option("--api-key-file", type=file, default="", help="An API key; else ELASTIC_API_KEY, DD_API_KEY."),
        click.option("--app-key-file", type=file, default="", help="Datadog's application key; else DD_APP_KEY."),
        click.option("--tenant", default="", metavar="NAME", help="Loki's tenant (X-Scope-OrgID)."),
        click.option("--selector", default="", metavar="LOGQL", help='Loki\'s streams; default: {service_name=~".+"}.'),
        click.option(
            "--index",
            "indexes",
            metavar="NAME",
            multiple=True,
            help="Indexes of Elasticsearch, Splunk or Datadog that hosts write to (repeatable).",
        ),
        click.option("--ca-file", type=file, default="", help="Certificates to trust for the backend's."),
        click.option(
            "--timeout",
            type=SecondsRange(0, min_open=True),
            default=None,
            help="Seconds for one answer of a backend.  [default: 60]",
        ),
    ]


def chosen(given: Mapping[str, Any]) -> str:
    """Which backend is asked for; empty when none is. Raises click.UsageError for two, and for options that are another's."""
    names = [name for name in _TAKES if given[name] is not None]
    if len(names) > 1:
        raise click.UsageError(f"--{names[0]} and --{names[1]} exclude each other: one audit asks one backend")
    takes = (_TAKES[names[0]] | _COMMON) if names else frozenset[str]()
    for option in (*_SECRETS, "tenant", "selector", "indexes", *sorted(_COMMON)):
        if given[option] and option not in takes:
            flag = _FLAGS.get(option, "--" + option.replace("_", "-"))
            raise click.UsageError(f"{flag} is not for {'--' + names[0] if names else 'an archive'}")
    if bool(given["username"]) is not bool(given["password_file"]):
        raise click.UsageError("--username and --password-file go together")
    return names[0] if names else ""


def compare(
    kind: str, given: Mapping[str, Any], which: Which, *, destination: str, silence: float, as_json: bool
) -> None:
    """Compare with the backend and print it; ends the program with 1 when something is missing, with 2 without an answer."""
    from shipper.errors import ConfigError
    from shipper.fleet.backend_audit import audit_backend
    from shipper.fleet.backends.shown import show
    from shipper.fleet.questions import NoAnswer

    try:
        backend = _open(kind, given)
        report = audit_backend(backend, now_ns=time.time_ns(), silence=silence, which=which, destination=destination)
    except ConfigError as problem:
        raise click.UsageError(str(problem)) from problem
    except NoAnswer as problem:
        raise Unusable(str(problem)) from problem
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    elif report.rows:
        show(report)
    if not report.rows:
        who = which.host or which.life
        raise click.ClickException(f"no life {f'of {who} ' if who else ''}was ever heard of in {backend.name}")
    if not report.ok:
        sys.exit(1)


def _open(kind: str, given: Mapping[str, Any]) -> Backend:
    """Raises `ConfigError`."""
    from shipper.fleet.backends.asking import SECONDS, Patience
    from shipper.fleet.backends.datadog import Datadog
    from shipper.fleet.backends.elasticsearch import Elasticsearch
    from shipper.fleet.backends.loki import SELECTOR, Loki
    from shipper.fleet.backends.model import Secrets
    from shipper.fleet.backends.splunk import Splunk

    secrets = Secrets(**{name: given[name] for name in _SECRETS})
    patience = Patience(given["timeout"] or SECONDS, tell=lambda text: click.echo(text, err=True))
    where, indexes, ca_file = given[kind], given["indexes"], given["ca_file"]
    if kind == "loki":
        tenant, selector = given["tenant"], given["selector"] or SELECTOR
        return Loki(where, secrets, tenant=tenant, selector=selector, ca_file=ca_file, patience=patience)
    if kind == "elasticsearch":
        return Elasticsearch(where, secrets, indexes=indexes, ca_file=ca_file, patience=patience)
    if kind == "splunk":
        return Splunk(where, secrets, indexes=indexes, ca_file=ca_file, patience=patience)
    return Datadog(where, secrets, indexes=indexes, ca_file=ca_file, patience=patience)
