"""The event that a pipeline tells of: what it says itself, and what its environment says where it does not."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from shipper.fleet.deploys.environment import FIELDS, Found, look
from shipper.fleet.deploys.model import STARTS, Action, DeployEvent

VERBS: dict[str, Action] = {
    "start": "started",
    "finish": "finished",
    "fail": "failed",
    "rollback": "rollback",
    "withdraw": "withdrawn",
}
"""What is typed -> the event."""
_VARIABLES = {"generation": "SHIPPER_GENERATION", "release": "SHIPPER_RELEASE", "image": "SHIPPER_IMAGE"}
_OPTION = "option"


@dataclass(frozen=True, slots=True)
class Filled:
    """An event, and where each of its fields is from. ``problem``: why it cannot be told, empty when it can."""

    event: DeployEvent
    origins: Mapping[str, Found]
    problem: str = ""

    def variables(self) -> dict[str, str]:
        """What hosts need in their environment to belong to this deploy."""
        values = {variable: self.origins[name].value for name, variable in _VARIABLES.items()}
        return {variable: value for variable, value in values.items() if value}


def fill(
    action: Action,
    given: Mapping[str, str],
    env: Mapping[str, str],
    *,
    now_ns: int,
    at_ns: int = 0,
    desired_hosts: int = 0,
) -> Filled:
    """Put the event together; ``given``: fields of `DeployEvent` as options say them, empty ones being not given.

    Its generation is, in this order, what is stated, the deployment's id, the build's id, and for a start an id made here.
    """
    found = look({name: _text(value) for name, value in env.items()})
    for name in FIELDS:
        if value := _text(given.get(name, "")):
            found[name] = Found(value, _OPTION)
    _name_it(found, action, now_ns)
    event = DeployEvent(
        at_ns=at_ns or now_ns,
        action=action,
        from_release=_text(given.get("from_release", "")),
        desired_hosts=desired_hosts,
        **{name: found[name].value for name in FIELDS},  # type: ignore[arg-type]  # all of them are texts
    )
    return Filled(event, found, _problem(event, now_ns))


def _name_it(found: dict[str, Found], action: Action, now_ns: int) -> None:
    """Id and generation stand in for each other, so that every step of a pipeline finds the same without being told."""
    deploy, generation = found["id"], found["generation"]
    if not deploy.value and not generation.value and action in STARTS:
        deploy = Found(
            f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now_ns // 10**9))}-{secrets.token_hex(2)}", "made here"
        )
    if not generation.value and deploy.value and action != "withdrawn":
        generation = Found(deploy.value, f"the deployment's id ({deploy.origin})")
    if not deploy.value or (generation.origin == _OPTION and deploy.origin != _OPTION):
        # a generation somebody states is one deploy, also where one build makes several
        deploy = Found(generation.value, f"the generation ({generation.origin})") if generation.value else deploy
    found["id"], found["generation"] = deploy, generation


def _problem(event: DeployEvent, now_ns: int) -> str:
    if not event.service:
        return "of which service? --service, SHIPPER_SERVICE, or a pipeline that says it (see docs/deploys.md)"
    if event.action == "withdrawn" and not event.generation:
        return "which generation was withdrawn? --generation or SHIPPER_GENERATION"
    if not (event.id or event.generation):
        return "which deploy? --id or --generation: those that the start printed"
    return next(event.problems(now_ns), "")


def _text(value: str) -> str:
    """One line of valid text: bytes of the environment that are no UTF-8 stay readable as their escapes."""
    return value.encode("utf-8", "backslashreplace").decode().strip()
