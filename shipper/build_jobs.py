"""How runs that ``shipper exec`` hands over are read and counted: what ties the files, the requests and the jobs together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from shipper.build_shapes import multiline_of, shape_of
from shipper.config.schema import Config
from shipper.config.schema_shape import Shape
from shipper.handoff.jobs import ENDED, STREAMS, is_job, read_job
from shipper.measure.log_lines import Names, line_format
from shipper.measure.log_requests import LogRule
from shipper.otlp.encode import AttributeValue
from shipper.sources.file.settings import FileGroup
from shipper.sources.jobs import attributes_of, group_of_runs


def runs(config: Config, host: Mapping[str, AttributeValue]) -> tuple[FileGroup, ...]:
    """The files of all runs below the root of the hand-off: what they wrote, and how they ended."""
    rule = multiline_of(config.jobs.multiline)
    shape = shape_of(config.jobs.shape, ("jobs", "shape"))
    outputs = [replace(group_of_runs(config.spool_dir, host, name), output=name) for name in STREAMS]
    end = shape_of(Shape(parse="json", body="message"), ("jobs",))
    return (
        *(replace(group, multiline=rule, shape=shape) for group in outputs),
        replace(group_of_runs(config.spool_dir, host, ENDED), shape=end),
    )


def job_rule(root: str) -> LogRule:
    """Each run is a request of who runs it, and a run of its job: an error unless it succeeded."""

    def covers(path: str) -> bool:
        directory, name = os.path.split(path)
        above, run = os.path.split(directory)
        return name == ENDED and above == os.path.abspath(root) and is_job(run)

    def attributes(path: str) -> Mapping[str, object]:
        job = read_job(os.path.dirname(path))
        return {} if job is None else attributes_of(job)

    return LogRule(covers, line_format("json", Names(route="job")), attributes, besides_spans=True, jobs=True)
