"""Nomad: the allocation, the job, and what the job states in its ``meta`` (HashiCorp Nomad, "Runtime environment settings").

The version of the job is not among the variables. A job that wants its generation known says it in ``meta``:
``shipper_generation = "..."``; Nomad passes every key on as it is and in capitals.
"""

from __future__ import annotations

from shipper.labels.cloud import tags
from shipper.labels.finding import Candidate, Finding, Surroundings

_META = "NOMAD_META_"


def detect(around: Surroundings) -> Finding:
    """The allocation as the host, and labels from ``meta``."""
    meta = {name.removeprefix(_META): value for name, value in around.env.items() if name.startswith(_META)}
    candidates = (
        *tags.candidates(meta, "nomad meta"),
        Candidate("host", around.variable("NOMAD_ALLOC_ID"), "NOMAD_ALLOC_ID"),
    )
    names = ("NOMAD_JOB_NAME", "NOMAD_TASK_NAME")
    return Finding(candidates, fallbacks=tuple(Candidate("service", around.variable(name), name) for name in names))
