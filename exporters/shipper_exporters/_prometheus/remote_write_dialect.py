"""Which version of remote write a receiver speaks, found out by what it answers.

2.0 says how much was written (``X-Prometheus-Remote-Write-*-Written``), and that is what tells it from 1.0: many receivers of 1.0
look at no content type, find nothing in a message of 2.0 that they know, and answer that they stored it. Such an answer proves
nothing, and the same samples are sent again as 1.0 (specification of 2.0, "Required ``Written`` Response Headers").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from shipper.errors import Unusable
from shipper_exporters._http.answers import is_web_page
from shipper_exporters._http.client import Answer
from shipper_exporters._prometheus.answers import Refused, all_old, uncounted
from shipper_exporters._prometheus.remote_write import Version
from shipper_exporters._prometheus.samples import Sample

AUTO = "auto"

_WRITTEN = "X-Prometheus-Remote-Write-{}-Written"
_COUNT = re.compile(r"[0-9]{1,18}")
_NOT_UNDERSTOOD = frozenset({400, 406, 415, 500, 501})  # some stumble over a message that they do not know


class Dialect:
    """The version in use. ``protocol``: ``1.0``, ``2.0`` or ``auto``, which begins with 2.0 and falls back."""

    def __init__(self, protocol: str) -> None:
        self._auto = protocol == AUTO
        self._settled = not self._auto
        self.version = Version.TWO if self._auto else Version(protocol)

    def other(self, answer: Answer, version: Version) -> Version | None:
        """The version to try instead of the ``version`` that was answered so; None to take the answer as it is.

        Raises `Unusable` where a success proves nothing and no other version is allowed.
        """
        if version is not Version.TWO or written(answer.headers) is not None or is_web_page(answer):
            return None
        success = 200 <= answer.status < 300
        if not self._auto:
            if success:
                raise Unusable(
                    f"it answered {answer.status} without saying what it wrote, as one does that knows only"
                    " remote write 1.0; set protocol to auto or 1.0"
                )
            return None
        unknown = answer.status == 415 or (answer.status in _NOT_UNDERSTOOD and not self._settled)
        return Version.ONE if success or unknown else None

    def proved(self, version: Version) -> None:
        """It took, or refused for its content, what was written in ``version``."""
        if self._auto:
            self.version, self._settled = version, True


def written(headers: Mapping[str, str]) -> int | None:
    """How many samples and histograms the receiver says it wrote; None where it says nothing, or what is no number."""
    said = [headers.get(_WRITTEN.format(what), "").strip() for what in ("Samples", "Histograms", "Exemplars")]
    if not any(said) or not all(_COUNT.fullmatch(number) for number in said if number):
        return None
    return sum(int(number) for number in said[:2] if number)


def with_proof(refused: Refused | None, answer: Answer, samples: Sequence[Sample]) -> Refused | None:
    """What an answer means, by the receiver's own count of what it wrote; None when all of it is there."""
    count = written(answer.headers)
    if count is None or uncounted(answer):
        return refused
    missing = max(0, len(samples) - count)
    if refused is None and missing:
        return Refused(
            f"it answered {answer.status}, but wrote {count} of {len(samples)} samples", False, True, missing=missing
        )
    if refused is None or (not missing and not refused.histograms):
        return None  # what it refused is no sample: an exemplar
    if refused.histograms:
        return refused
    return replace(refused, old=all_old(answer.body), partial=True, missing=missing)
