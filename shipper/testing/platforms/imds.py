"""The EC2 instance metadata service (IMDS) on loopback, with the traps of the real one.

    async with FakeImds(clock=clock) as imds:
        ... point AWS_EC2_METADATA_SERVICE_ENDPOINT at imds.url ...
        imds.interrupt("terminate", seconds=120)

Faithful to the Amazon EC2 User Guide ("Retrieve instance metadata", "Spot Instance interruption notices") and, for values and
error pages, to Amazon EC2 Metadata Mock 1.13: IMDSv2 tokens that are asked for and expire, 404 for what is not there, error
bodies that are XHTML pages, directory listings. Unlike that mock it also hangs, lies, is throttled and is slow when told to.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from shipper.clock import Clock
from shipper.testing.platforms.loopback import Asked, Loopback, Reply, hang, page

TOKEN_PATH = "/latest/api/token"
TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN_HEADER = "X-aws-ec2-metadata-token"
MOST_TTL = 21_600
META = "/latest/meta-data/"
SPOT_ACTION = META + "spot/instance-action"
SPOT_TIME = META + "spot/termination-time"
REBALANCE = META + "events/recommendations/rebalance"
TARGET_STATE = META + "autoscaling/target-lifecycle-state"
SCHEDULED = META + "events/maintenance/scheduled"
IDENTITY_DOCUMENT = "/latest/dynamic/instance-identity/document"
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

Value = str | Callable[[], str]  # a callable is asked at every request


class FakeImds(Loopback):
    """The service of one instance. Change ``values`` (path to text, or to a function that makes it) as you like.

    ``tags`` None: tags in metadata are off (404), as they are by default. ``version_1``: answers also without a token.
    ``role``: the name of an instance profile's role, for which credentials are handed out. ``clock`` decides when tokens expire
    and what "in 120 seconds" means; its wall time goes into the ``Date`` header.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        ipv6: bool = False,
        instance_id: str = "i-1234567890abcdef0",
        ami_id: str = "ami-0a887e401f7654935",
        instance_type: str = "m4.xlarge",
        life_cycle: str = "on-demand",
        region: str = "us-east-1",
        zone: str = "us-east-1a",
        zone_id: str = "use1-az4",
        account_id: str = "123456789012",
        tags: Mapping[str, str] | None = None,
        role: str = "",
        version_1: bool = False,
    ) -> None:
        super().__init__(clock=clock, ipv6=ipv6)
        self.version_1 = version_1
        self.tokens: dict[str, float] = {}  # token -> when it expires, monotonic seconds
        self.values: dict[str, Value] = {
            META + "ami-id": ami_id,
            META + "instance-id": instance_id,
            META + "instance-type": instance_type,
            META + "instance-life-cycle": life_cycle,
            META + "placement/availability-zone": zone,
            META + "placement/availability-zone-id": zone_id,
            META + "placement/region": region,
            META + "services/domain": "amazonaws.com",
            IDENTITY_DOCUMENT: _document(
                instanceId=instance_id,
                imageId=ami_id,
                instanceType=instance_type,
                availabilityZone=zone,
                region=region,
                accountId=account_id,
            ),
        }
        self._serial = itertools.count(1)
        self._reject = 0
        self.set_tags(tags)
        if role:
            self.values[META + "iam/security-credentials/" + role] = self._credentials

    # -- what the platform announces ---------------------------------------------------------------------------------

    def interrupt(self, action: str = "terminate", seconds: float = 120.0, *, slides: bool = False) -> None:
        """A Spot interruption notice: ``action`` (terminate, stop, hibernate) in ``seconds`` from now.

        ``slides``: the time is counted anew at every request, as Amazon EC2 Metadata Mock does it.
        """
        fixed = self._in(seconds)
        self.values[SPOT_ACTION] = lambda: json.dumps(
            {"action": action, "time": self._in(seconds) if slides else fixed}
        )
        if action != "hibernate":
            self.values[SPOT_TIME] = lambda: self._in(seconds) if slides else fixed

    def recommend_rebalance(self) -> None:
        """A rebalance recommendation, emitted now."""
        self.values[REBALANCE] = json.dumps({"noticeTime": self._in(0)})

    def set_target_state(self, state: str | None) -> None:
        """What the Auto Scaling group wants of this instance, e.g. InService, Terminated; None: it never changed (404)."""
        self.set(TARGET_STATE, state)

    def schedule(
        self,
        code: str = "instance-retirement",
        seconds: float = 86_400.0,
        *,
        state: str = "active",
        event_id: str = "instance-event-1234567890abcdef0",
        description: str = "",
    ) -> None:
        """A scheduled event (added, or changed if its id is known), ``seconds`` from now, in the odd date format of these."""
        event = {
            "Code": code,
            "Description": description or f"The instance is scheduled for {code}",
            "State": state,
            "EventId": event_id,
            "NotBefore": self._odd(seconds),
            "NotAfter": self._odd(seconds + 7_200),
        }
        others = [one for one in self.scheduled() if one["EventId"] != event_id]
        self.values[SCHEDULED] = json.dumps([*others, event])

    def scheduled(self) -> list[dict[str, str]]:
        """The scheduled events as they stand."""
        value = self.values.get(SCHEDULED)
        listed: list[dict[str, str]] = json.loads(value) if isinstance(value, str) else []
        return listed

    def no_scheduled(self) -> None:
        """An empty list of scheduled events, where without any call there is none (404)."""
        self.values[SCHEDULED] = "[]"

    def set(self, path: str, value: Value | None) -> None:
        """Set what ``path`` (from ``/latest`` on) answers; None takes it away (404)."""
        if value is None:
            self.values.pop(path, None)
        else:
            self.values[path] = value

    def set_tags(self, tags: Mapping[str, str] | None) -> None:
        """The instance's tags, also while it runs (as on Nitro); None: tags in metadata are off."""
        prefix = META + "tags/instance/"
        self.values = {path: value for path, value in self.values.items() if not path.startswith(prefix)}
        self.values |= {prefix + key: value for key, value in (tags or {}).items()}

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    def expire_tokens(self) -> None:
        """All tokens handed out are void from now on (a restore from a snapshot does this)."""
        self.tokens.clear()

    def reject_tokens(self, times: int = 1) -> None:
        """The next requests with a token get 401, although it is good."""
        self._reject = times

    def hop_limit_exceeded(self, on: bool = True) -> None:
        """The answer to the token request never arrives, as in a container behind a hop limit of 1."""
        self.trap_always(TOKEN_PATH, hang() if on else None)

    def switch_off(self, on: bool = True) -> None:
        """The service was turned off for this instance: 403 to everything."""
        self.trap_always("*", page(403, "Forbidden") if on else None)

    # -- how it answers ----------------------------------------------------------------------------------------------

    def reply(self, asked: Asked) -> Reply:
        """See `Loopback.reply`."""
        if "X-Forwarded-For" in asked.headers:
            return _error(403, "Forbidden")
        if asked.path == TOKEN_PATH:
            return self._token(asked) if asked.method == "PUT" else _error(405, "Not Allowed")
        if asked.method == "PUT":
            return _error(403, "Forbidden")
        if not self._known(asked.headers.get(TOKEN_HEADER)):
            return _error(401, "Unauthorized")
        return self._look_up(asked.path)

    def _token(self, asked: Asked) -> Reply:
        stated = asked.headers.get(TTL_HEADER, "")
        if not stated.isascii() or not stated.isdigit() or not 1 <= int(stated) <= MOST_TTL:
            return _error(400, "Bad Request")
        token = f"AQAEAFake{next(self._serial):08d}=="
        self.tokens[token] = self.clock.monotonic() + int(stated)
        return Reply(200, token.encode(), headers={TTL_HEADER: stated})

    def _known(self, token: str | None) -> bool:
        if token is None:
            return self.version_1
        if self._reject:
            self._reject -= 1
            return False
        return self.tokens.get(token, float("-inf")) > self.clock.monotonic()

    def _look_up(self, path: str) -> Reply:
        value = self.values.get(path)
        if value is not None:
            return Reply(200, (value if isinstance(value, str) else value()).encode())
        prefix = path.rstrip("/") + "/"
        below = [other[len(prefix) :] for other in self.values if other.startswith(prefix)]
        if not below:
            return _error(404, "Not Found")
        if prefix == META + "tags/instance/":
            return Reply(200, "\n".join(sorted(below)).encode())
        children = {name.split("/")[0] + ("/" if "/" in name else "") for name in below}
        return Reply(200, "\n".join(sorted(children)).encode())

    def _credentials(self) -> str:
        return json.dumps(
            {
                "Code": "Success",
                "LastUpdated": self._in(0),
                "Type": "AWS-HMAC",
                "AccessKeyId": "AKIAFAKEFAKEFAKEFAKE",
                "SecretAccessKey": "fake",
                "Token": "fake",
                "Expiration": self._in(6 * 3600),
            }
        )

    def _in(self, seconds: float) -> str:
        return f"{self._moment(seconds):%Y-%m-%dT%H:%M:%SZ}"

    def _odd(self, seconds: float) -> str:
        moment = self._moment(seconds)
        return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year} {moment:%H:%M:%S} GMT"

    def _moment(self, seconds: float) -> datetime:
        return datetime.fromtimestamp(self.clock.wall_ns() / 1e9 + seconds, UTC)


def _document(**values: str) -> str:
    fixed = {"version": "2017-09-30", "architecture": "x86_64", "pendingTime": "2026-10-31T07:02:24Z", "kernelId": None}
    return json.dumps({**fixed, **values}, indent=2)


def _error(status: int, reason: str) -> Reply:
    reply = page(status, reason).reply
    assert reply is not None
    return reply
