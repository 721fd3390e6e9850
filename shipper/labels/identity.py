"""Who a host is: its labels with the origin of each, and the resource attributes they become on every record."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shipper import __version__
from shipper.labels.finding import LABELS, AttributeValue, Candidate
from shipper.labels.image import image_attributes

UNKNOWN_SERVICE = "unknown_service"  # what OpenTelemetry demands where no service.name is known


@dataclass(frozen=True, slots=True)
class Label:
    """One label: its value (empty: unknown), where that came from, and every place that was looked at, strongest first."""

    name: str
    value: str
    origin: str
    tried: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Considered:
    """A platform that something named: its ``evidence``, whether its metadata service was asked, what came of that (``note``),
    and how long it took in seconds.
    """

    platform: str
    evidence: str
    asked: bool
    note: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Identity:
    """The labels of one host, fixed for its life; ``life`` is empty until the life is known.

    ``considered`` and ``seconds`` tell how it was found out: the platforms, and how long all of it took. ``times`` are those of
    `shipper.labels.times` that are known, in nanoseconds since the epoch.
    """

    service: Label
    release: Label
    image: Label
    generation: Label
    environment: Label
    host: Label
    extra: Mapping[str, AttributeValue] = field(default_factory=dict)
    in_container: bool = False
    problems: tuple[str, ...] = ()
    life: str = ""
    considered: tuple[Considered, ...] = ()
    seconds: float = 0.0
    times: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        labels: Mapping[str, Label],
        *,
        extra: Mapping[str, AttributeValue],
        in_container: bool = False,
        problems: tuple[str, ...] = (),
        considered: tuple[Considered, ...] = (),
        seconds: float = 0.0,
        times: Mapping[str, int] | None = None,
    ) -> Identity:
        """An identity from its labels by name."""
        return cls(
            service=labels["service"],
            release=labels["release"],
            image=labels["image"],
            generation=labels["generation"],
            environment=labels["environment"],
            host=labels["host"],
            extra=extra,
            in_container=in_container,
            problems=problems,
            considered=considered,
            seconds=seconds,
            times=times or {},
        )

    def all(self) -> tuple[Label, ...]:
        """All labels, in the order they are shown."""
        return tuple(getattr(self, name) for name in LABELS)

    def values(self) -> dict[str, str]:
        """Label name -> value, as accounts carry them; unknown ones are empty."""
        return {label.name: label.value for label in self.all()}

    @property
    def name(self) -> str:
        """The one name of this machine, pod or task: `shipper.host` on records, ``instance`` on series.

        ``host.id`` would not do: it names the machine, which pods share.
        """
        return self.host.value or self.life

    def with_life(self, life: str) -> Identity:
        """The same identity in a known life."""
        return dataclasses.replace(self, life=life)

    def attributes(self) -> dict[str, AttributeValue]:
        """The resource attributes of every record: OpenTelemetry's names where it has one, ``shipper.*`` otherwise."""
        stated: dict[str, AttributeValue] = {
            "service.name": self.service.value or UNKNOWN_SERVICE,
            "service.version": self.release.value,
            "deployment.environment.name": self.environment.value,
            "shipper.generation": self.generation.value,
            "shipper.host": self.name,
            "shipper.life.id": self.life,
            "telemetry.distro.name": "shipper",
            "telemetry.distro.version": __version__,
        }
        image = image_attributes(self.image.value, self.in_container, "host.image.name" in self.extra)
        merged = {**image, **self.extra, **{key: value for key, value in stated.items() if value}}
        merged.pop("deployment.environment", None)  # the old name of deployment.environment.name
        return dict(sorted(merged.items()))

    def dump(self) -> str:
        """As JSON, to be kept for the life; without what was tried."""
        return json.dumps(
            {
                "labels": {label.name: [label.value, label.origin] for label in self.all()},
                "extra": dict(self.extra),
                "times": dict(self.times),
                "in_container": self.in_container,
                "life": self.life,
            }
        )

    @classmethod
    def restore(cls, text: str) -> Identity:
        """What `dump` gave. Raises ValueError for anything else."""
        try:
            content: dict[str, Any] = json.loads(text)
            labels = {name: Label(name, *content["labels"][name]) for name in LABELS}
            times = {str(name): int(when) for name, when in content.get("times", {}).items()}
            identity = cls.of(labels, extra=content["extra"], in_container=content["in_container"], times=times)
            return identity.with_life(content["life"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an identity: {error}") from error
