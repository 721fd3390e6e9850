"""What alerts say: Prometheus templates that put numbers into sentences, whatever the labels are called or hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shipper.dashboards.config import BoardConfig

Form = Literal["humanize", "humanizePercentage", "humanizeDuration", "humanize1024"]
VALUE = "{{ $value | humanize }}"
SHARE = "{{ $value | humanizePercentage }}"
SPAN = "{{ $value | humanizeDuration }}"
SIZE = "{{ $value | humanize1024 }}B"


@dataclass(frozen=True)
class Words:
    """Templates in the label names of one configuration."""

    config: BoardConfig

    def label(self, name: str) -> str:
        """The value of one of the alert's labels."""
        return f"{{{{ $labels.{name} }}}}"

    @property
    def service(self) -> str:
        """``checkout in production``."""
        labels = self.config.labels
        return f"{self.label(labels.service)}{{{{ with $labels.{labels.env} }}}} in {{{{ . }}}}{{{{ end }}}}"

    @property
    def generation(self) -> str:
        """``generation 42 of checkout in production``."""
        return f"generation {self.label(self.config.labels.generation)} of {self.service}"

    def asked(self, query: str, form: Form, *, by: tuple[str, ...] = ("env", "service"), otherwise: str = "?") -> str:
        """The answer to ``query``, in which each ``{}`` stands for matchers on the alert's own labels ``by``.

        ``printf %q`` quotes as PromQL does, so that a label with quotes in it cannot break the query.
        """
        names = [getattr(self.config.labels, name) for name in by]
        matchers = ",".join(f"{name}=%q" for name in names)
        text = query.replace("{}", matchers).replace("\\", "\\\\").replace('"', '\\"')
        values = " ".join(f"$labels.{name}" for _ in range(query.count("{}")) for name in names)
        return (
            f'{{{{ with printf "{text}" {values} | query }}}}{{{{ . | first | value | {form} }}}}'
            f"{{{{ else }}}}{otherwise}{{{{ end }}}}"
        )

    def release(self, recorded: str) -> str:
        """The release of the alert's generation, from the recorded info metric."""
        labels = self.config.labels
        matchers = f"{labels.env}=%q,{labels.service}=%q,{labels.generation}=%q"
        values = f"$labels.{labels.env} $labels.{labels.service} $labels.{labels.generation}"
        return (
            f'{{{{ with printf "{recorded}{{{matchers}}}" {values} | query }}}} (release '
            f'{{{{ . | first | label "{labels.release}" }}}}){{{{ end }}}}'
        )

    def board(self, uid: str, variables: tuple[str, ...]) -> str:
        """The address of a dashboard with its variables set from the alert's labels."""
        parts = [
            f"var-{name}={{{{ $labels.{getattr(self.config.labels, name, name)} | urlquery }}}}" for name in variables
        ]
        return f"{self.config.grafana.rstrip('/')}/d/{uid}?{'&'.join([*parts, 'from=now-2h', 'to=now'])}"
