"""Deploys as metrics: one series a fact, whose value is the moment, so that dashboards draw markers without looking into logs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shipper.fleet.deploys.model import Deploy
from shipper.fleet.gauges import Described, Encoded, Series, labels
from shipper.fleet.gauges import encode as encode_gauges

STARTED = "shipper.deploy.started_timestamp"
FINISHED = "shipper.deploy.finished_timestamp"
WITHDRAWN = "shipper.deploy.withdrawn_timestamp"
DESIRED = "shipper.generation.desired_hosts"
EPISODE = "shipper.generation.episode_started_timestamp"
KEEPER = "shipper.keeper.info"
_SECONDS = "s"
_UNITS = {STARTED: _SECONDS, FINISHED: _SECONDS, WITHDRAWN: _SECONDS, EPISODE: _SECONDS, DESIRED: "{host}", KEEPER: ""}
_HELP = {
    STARTED: "When a deploy or rollback started.",
    FINISHED: "When it ended, well or not.",
    WITHDRAWN: "When a generation was taken back before it replaced the other.",
    DESIRED: "How many hosts the generation is meant to have.",
    EPISODE: "When the generation became the newest, for the first time or again.",
    KEEPER: "1 from the gateway that keeps the series of deploys alive.",
}
_DESCRIBED = Described("shipper.deploy", _UNITS, _HELP)


def of_deploys(deploys: Iterable[Deploy]) -> dict[Series, int]:
    """The series of deploys, oldest first, and their values: seconds since the epoch, or hosts."""
    found: dict[Series, int] = {}
    for deploy in deploys:
        about = labels(
            {
                "service.name": deploy.service,
                "deployment.environment.name": deploy.env,
                "shipper.generation": deploy.generation,
                "service.version": deploy.release,
            }
        )
        inferred = {"inferred": "true" if deploy.inferred else "false"}
        again = {"episode": str(deploy.episode)} if deploy.episode > 1 else {}
        kind = {"action": "rollback" if deploy.rollback else "deploy", "from_release": deploy.from_release}
        if deploy.started_ns:
            found[Series(STARTED, about, labels({**kind, **inferred, **again}))] = _seconds(deploy.started_ns)
            episode = Series(EPISODE, about, labels({"episode": str(deploy.episode)}))
            found.setdefault(episode, _seconds(deploy.started_ns))  # a deploy repeated begins no other episode
        if deploy.finished_ns:
            status = {"status": deploy.status}
            found[Series(FINISHED, about, labels({**kind, **inferred, **again, **status}))] = _seconds(
                deploy.finished_ns
            )
        if deploy.withdrawn_ns:
            found[Series(WITHDRAWN, about, labels({**inferred, **again}))] = _seconds(deploy.withdrawn_ns)
        if deploy.desired_hosts:
            found[Series(DESIRED, about, ())] = deploy.desired_hosts
    return found


def of_keeper(gateway: str) -> dict[Series, int]:
    """The series that says who keeps the others."""
    return {Series(KEEPER, (), (("gateway", gateway),)): 1}


def encode(values: Mapping[Series, int], time_ns: int, ended: Iterable[Series] = ()) -> Encoded:
    """See `shipper.fleet.gauges.encode`."""
    return encode_gauges(_DESCRIBED, values, time_ns, ended)


def _seconds(at_ns: int) -> int:
    return at_ns // 1_000_000_000
