"""Deploy events as OTLP log records, so that they pass any Collector and stand in any store of logs.

Attribute names are OpenTelemetry's where it has them (semantic conventions, "Deployment attributes"), else ``shipper.``'s own.
"""

from __future__ import annotations

from collections.abc import Iterator

from shipper import __version__
from shipper.contracts import Signal
from shipper.fleet.deploys.model import Action, DeployEvent
from shipper.otlp import decode
from shipper.otlp.encode import AttributeValue, export_logs, log_record, resource, scope
from shipper.otlp.wire import field

SCOPE = "shipper.deploy"
MARK = field(1, SCOPE.encode())
"""Bytes that every payload with a deploy event holds, the scope's name as it is encoded: no line of text has them."""
EVENT_PREFIX = "shipper.deploy."
_INFO, _ERROR = 9, 17
_STATUS = {"finished": "succeeded", "failed": "failed"}
_SENTENCES: dict[Action, str] = {
    "started": "deploy of {what} started",
    "finished": "deploy of {what} finished",
    "failed": "deploy of {what} failed",
    "rollback": "rollback to {what} started",
    "withdrawn": "{what} was withdrawn",
}
# field of the event -> attribute of the record
_ATTRIBUTES = {
    "id": "deployment.id",
    "from_release": "shipper.deploy.from_release",
    "actor": "shipper.deploy.actor",
    "url": "shipper.deploy.url",
    "image": "shipper.image",
}
_RESOURCE = {
    "service": ("service.name",),
    "env": ("deployment.environment.name", "deployment.environment"),
    "generation": ("shipper.generation",),
    "release": ("service.version",),
}


def sentence(event: DeployEvent) -> str:
    """The event for people."""
    what = event.service + (f" {event.release}" if event.release else "")
    text = _SENTENCES[event.action].format(what=what)
    more = [
        f"in {event.env}" if event.env else "",
        f"generation {event.generation}" if event.generation else "",
        f"from {event.from_release}" if event.from_release else "",
        f"by {event.actor}" if event.actor else "",
    ]
    return ", ".join([text, *filter(None, more)])


def to_otlp(event: DeployEvent) -> bytes:
    """An ExportLogsServiceRequest with the event."""
    about = {names[0]: value for name, names in _RESOURCE.items() if (value := getattr(event, name))}
    attributes: dict[str, AttributeValue] = {
        attribute: value for name, attribute in _ATTRIBUTES.items() if (value := getattr(event, name))
    }
    attributes["deployment.name"] = f"{event.service} {event.release or event.generation or event.id}".strip()
    attributes["shipper.deploy.action"] = event.action
    if event.action in _STATUS:
        attributes["deployment.status"] = _STATUS[event.action]
    if event.desired_hosts:
        attributes["shipper.deploy.desired_hosts"] = event.desired_hosts
    record = log_record(
        time_ns=event.at_ns,
        observed_ns=event.at_ns,
        body=sentence(event),
        severity=_ERROR if event.action == "failed" else _INFO,
        severity_text="ERROR" if event.action == "failed" else "INFO",
        attributes=attributes,
        event_name=EVENT_PREFIX + event.action,
    )
    return export_logs(resource(about), scope(SCOPE, __version__), [record])


def from_otlp(payload: bytes, received_ns: int) -> Iterator[DeployEvent | str]:
    """The deploy events in a logs payload; a sentence for each that cannot be taken. Raises `MalformedOtlp`.

    One that says no time gets that of its observation, or else ``received_ns``.
    """
    if MARK not in payload:  # nearly all payloads: one search instead of decoding
        return
    for record in decode.records(Signal.LOGS, payload):
        called = record.event_name or str(record.attributes.get("event.name", ""))
        if record.scope != SCOPE or not called.startswith(EVENT_PREFIX):
            continue
        action = called.removeprefix(EVENT_PREFIX)
        event = DeployEvent(
            at_ns=record.time_ns or record.observed_ns or received_ns,
            action=action,  # type: ignore[arg-type]  # checked below
            **{name: _first(record.resource, names) for name, names in _RESOURCE.items()},  # type: ignore[arg-type]
            **{name: _first(record.attributes, (key,)) for name, key in _ATTRIBUTES.items()},  # type: ignore[arg-type]
            desired_hosts=_number(record.attributes.get("shipper.deploy.desired_hosts")),
        )
        problem = next(event.problems(received_ns), "")
        yield f"a deploy event cannot be taken: {problem}" if problem else event


def _first(values: object, names: tuple[str, ...]) -> str:
    assert isinstance(values, dict)
    return next((str(values[name]) for name in names if values.get(name) not in (None, "")), "")


def _number(value: AttributeValue) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        return int(value)
    except (ValueError, OverflowError):
        return 0
