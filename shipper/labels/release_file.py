"""``/etc/shipper/release.json``, written by `shipper bake` when the image was built: release, image and time, never a generation."""

from __future__ import annotations

import json
from collections.abc import Mapping

from shipper.labels.finding import AttributeValue, Candidate, Finding, Surroundings
from shipper.labels.times import RELEASE_BUILT, first_time
from shipper.paths import RELEASE_FILE

LABELS = ("service", "release", "image", "environment")
BUILT = "built"
COMMIT = "vcs.ref.head.revision"
REPOSITORY = "vcs.repository.url.full"


def detect(around: Surroundings) -> Finding:
    """The labels of the file. A file that cannot be used is a problem to be said, not a reason not to ship."""
    try:
        values = _read(around)
    except FileNotFoundError:
        return Finding(_candidates({}, "no such file"))
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        return Finding(_candidates({}, f"not usable: {reason}"), problems=(f"{RELEASE_FILE}: not usable: {reason}",))
    attributes: dict[str, AttributeValue] = {}
    for key, attribute in (("commit", COMMIT), ("repository", REPOSITORY)):
        if key in values:
            attributes[attribute] = values[key]
    problems: list[str] = []
    times = first_time(RELEASE_BUILT, [(values.get(BUILT, ""), f"{RELEASE_FILE}: '{BUILT}'")], problems)
    return Finding(_candidates(values, "not in it"), attributes, tuple(problems), times=times)


def _candidates(values: Mapping[str, str], otherwise: str) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(label, values.get(label, ""), RELEASE_FILE, "" if values.get(label) else otherwise)
        for label in LABELS
    )


def _read(around: Surroundings) -> dict[str, str]:
    try:
        content = json.loads(around.read(RELEASE_FILE))
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from error
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError("does not hold a JSON object")
    wrong = [key for key in (*LABELS, "commit", "repository", BUILT) if not isinstance(content.get(key, ""), str)]
    if wrong:
        raise ValueError(f"'{wrong[0]}' is not text")
    return {key: value.strip() for key, value in content.items() if isinstance(value, str) and value.strip()}
