"""docs/services.md tells the truth: every example on it is run as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from shipper.handoff.frame import Kind, walk
from shipper.handoff.prepare import prepare_root
from tests.e2e.kit import free_port
from tests.e2e.servers import Group, get_status, wait

PAGE = (Path(__file__).parents[2] / "docs/services.md").read_text()


@dataclass(frozen=True)
class Example:
    """A file of the page and the commands below it; the last comment is the span that comes of it."""

    file: str
    code: str
    command: str
    request: str
    span: str


def examples() -> list[Example]:
    found = []
    for file, code, shell in re.findall(r"```python (\S+)\n(.*?)```\n\n```sh\n(.*?)```", PAGE, re.DOTALL):
        command, *rest = shell.strip().splitlines()
        last, _, span = (rest or [command])[-1].partition("#")
        found.append(Example(file, code, command.partition("#")[0], last.strip() if rest else "", span.strip()))
    return found


def test_the_page_has_an_example_for_every_kind_of_server() -> None:
    """Nothing that the page promises goes unrun."""
    servers = {example.command.split()[0] for example in examples()}
    assert {"uvicorn", "gunicorn", "hypercorn", "celery", "python"} <= servers
    assert PAGE.count("```python ") == len(examples()) >= 11


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.file)
def test_an_example_works_as_it_stands(example: Example, tmp_path: Path) -> None:
    """Its command is run, its request made, and its processes killed: span and log record are there, one inside the other."""
    (tmp_path / example.file).write_text(example.code)
    root, port = tmp_path / "spool", free_port()
    prepare_root(str(root))
    program, *arguments = shlex.split(example.command.replace("8000", str(port)))
    argv = arguments if program == "python" else ["-m", program, *arguments]
    env = {
        "SHIPPER_SPOOL_DIR": str(root),
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*",  # as for a reader who has installed nothing more than the page says
        "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    group = Group(tmp_path, argv, env)
    try:
        if example.request:
            path = example.request.partition(":8000")[2]
            wait(lambda: get_status(port, path) == 200, f"{example.file} answers", group.said)
        span, record = wait(lambda: _found(root, example.span), f"span and log of {example.file} are there", group.said)
    finally:
        group.kill()
    assert span.trace_id == record.trace_id
    assert record.body.string_value == "looking for item 7"
    if example.request:
        assert span.kind == Span.SPAN_KIND_SERVER


def _found(root: Path, name: str) -> tuple[Span, LogRecord] | None:
    frames = [frame for segment in root.glob("p*/[!.]*.seg") for frame in walk(segment.read_bytes()).frames]
    spans = [Span.FromString(frame.body) for frame in frames if frame.kind == Kind.SPAN]
    records = [LogRecord.FromString(frame.body) for frame in frames if frame.kind == Kind.LOG]
    pairs = [
        (span, record)
        for span in spans
        for record in records
        if span.name == name and span.trace_id == record.trace_id and "item" in record.body.string_value
    ]
    return pairs[0] if pairs else None


def test_the_pod_shares_the_spool_between_service_and_sidecar() -> None:
    """The manifest mounts one volume in both, and tells the service the directory that the sidecar makes."""
    (text,) = re.findall(r"```yaml pod.yaml\n(.*?)```", PAGE, re.DOTALL)
    spec = yaml.safe_load(text)["spec"]
    (sidecar,), (service,) = spec["initContainers"], spec["containers"]
    assert sidecar["volumeMounts"] == service["volumeMounts"]
    assert sidecar["restartPolicy"] == "Always"
    said = {entry["name"]: entry["value"] for container in (sidecar, service) for entry in container["env"]}
    assert said["SHIPPER_SPOOL_DIR"] == said["SHIPPER_STATE_DIR"] + "/spool"
    assert sidecar["lifecycle"]["preStop"]["exec"]["command"] == ["shipper", "notice"]
    assert {"SHIPPER_TERMINATION_GRACE", "SHIPPER_NATIVE_SIDECAR"} <= said.keys()
