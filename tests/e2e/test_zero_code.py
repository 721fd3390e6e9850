"""Zero code: a program that knows nothing of us, under stock ``opentelemetry-instrument``, by each of the ways there are."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from shipper.contracts import Signal
from shipper.otlp.messages import parse
from shipper.testing.sink import Sink
from tests.e2e.kit import sidecar, until
from tests.sdk.initkit import Written, counted, environment, only, spool, written

pytest.importorskip("opentelemetry.instrumentation.auto_instrumentation")
INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))
APP = """
import json, logging, sys, threading
from opentelemetry import metrics, trace
tracer = trace.get_tracer("app")
for number in range(20):
    with tracer.start_as_current_span(f"work {number}"):
        logging.getLogger("app").warning("line %d", number)
if "metrics" in sys.argv:
    metrics.get_meter("app").create_counter("done").add(20)
provider = trace.get_tracer_provider()
resource = dict(getattr(getattr(provider, "resource", None), "attributes", {}))
print(json.dumps({"resource": resource, "threads": [thread.name for thread in threading.enumerate()]}))
"""
SPANS = [f"work {number}" for number in range(20)]
LINES = [f"line {number}" for number in range(20)]
QUIET = {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}


def instrumented(directory: Path, *arguments: str, **env: str) -> tuple[dict[str, object], str]:
    """Run the program; what it printed, and what stands on stderr."""
    app = directory / "app.py"
    app.write_text(APP)
    done = subprocess.run(
        [INSTRUMENT, sys.executable, str(app), *arguments],
        env=environment(**env),
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def complete(process: Written) -> None:
    """Everything the program emitted is there, once."""
    assert [name for name in process.names if name.startswith("work")] == SPANS
    assert [body for body in process.bodies if body.startswith("line")] == LINES


def test_by_distro(tmp_path: Path) -> None:
    """OTEL_PYTHON_DISTRO=shipper does what init does: everything is handed over, with no thread and no exporter."""
    root = spool(tmp_path)
    env = {"OTEL_PYTHON_DISTRO": "shipper", "SHIPPER_SPOOL_DIR": str(root), "SHIPPER_SERVICE": "app"}
    said, stderr = instrumented(tmp_path, **env)
    process = only(root)
    complete(process)
    assert process.stated["service.name"] == "app"
    assert "telemetry.auto.version" in process.stated
    assert said["threads"] == ["MainThread"]
    assert stderr == "".join(f"{line}\n" for line in LINES)  # the console that any program has, and nothing else


def test_by_distro_beside_exporters_that_were_asked_for(tmp_path: Path) -> None:
    """Exporters named by variable work as ever beside the hand-off, and ``shipper`` among them doubles nothing."""
    root = spool(tmp_path)
    exporters = {"OTEL_TRACES_EXPORTER": "console,shipper", "OTEL_LOGS_EXPORTER": "shipper"}
    env = {"OTEL_PYTHON_DISTRO": "shipper", "SHIPPER_SPOOL_DIR": str(root), **exporters}
    app = tmp_path / "app.py"
    app.write_text(APP)
    command = [INSTRUMENT, sys.executable, str(app), "metrics"]
    done = subprocess.run(command, env=environment(**env), capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.count('"name": "work ') == 20
    process = only(root)
    complete(process)
    assert counted(process)["done"] == 20


def test_by_the_hook_of_any_distro(tmp_path: Path) -> None:
    """With another distro, a variable of ours is enough: the hook puts the hand-off on the providers that are there."""
    root = spool(tmp_path)
    env = {"OTEL_PYTHON_DISTRO": "distro", "OTEL_PYTHON_CONFIGURATOR": "configurator", **QUIET}
    instrumented(tmp_path, "metrics", SHIPPER_SPOOL_DIR=str(root), OTEL_SERVICE_NAME="app", **env)
    process = only(root)
    complete(process)
    assert process.stated["service.name"] == "app"
    assert counted(process)["done"] == 20


def test_the_hook_takes_a_spool_that_is_there_unless_another_destination_is_named(tmp_path: Path) -> None:
    """A sidecar on the host is meant to be used; an explicit OTLP endpoint means that it is not."""
    state = tmp_path / "state"
    state.mkdir()
    root = spool(state)
    env = {"OTEL_PYTHON_DISTRO": "distro", "SHIPPER_STATE_DIR": str(state), **QUIET}
    instrumented(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", **env)
    assert written(root) == []
    instrumented(tmp_path, **env)
    complete(only(root))


def test_the_hook_is_silent_where_nobody_meant_it(tmp_path: Path) -> None:
    """The mere presence of the package changes nothing: no processor, no word, no import of ours."""
    said, stderr = instrumented(tmp_path, OTEL_PYTHON_DISTRO="distro", OTEL_PYTHON_CONFIGURATOR="configurator", **QUIET)
    ours = [line for line in stderr.splitlines() if "shipper" in line]
    assert [line for line in ours if not line.startswith("Configuration of shipper not loaded")] == []
    assert "telemetry.distro.name" not in said["resource"]  # type: ignore[operator]


def test_a_distro_that_was_found_but_not_named_is_the_stock_one(tmp_path: Path) -> None:
    """OpenTelemetry takes the first distro it finds where none is named; ours then does what OpenTelemetry's own does."""
    script = (
        "import os; from shipper.sdk.zero.distro import ShipperDistro; ShipperDistro().configure(); "
        "print(os.environ.get('OTEL_TRACES_EXPORTER'), os.environ.get('OTEL_PYTHON_CONFIGURATOR'))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["otlp", "None"]


def test_by_detector_alone(tmp_path: Path) -> None:
    """OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=shipper gives the identity to whatever exports, and hands nothing over."""
    root = tmp_path / "no-spool"
    env = {
        "OTEL_PYTHON_DISTRO": "distro",
        "OTEL_PYTHON_CONFIGURATOR": "configurator",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "shipper",
        "SHIPPER_RELEASE": "1.2",
        "SHIPPER_GENERATION": "g1",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=app,deployment.environment.name=staging",
    }
    said, stderr = instrumented(tmp_path, **env, **QUIET)
    resource = said["resource"]
    assert isinstance(resource, dict)
    assert resource["service.name"] == "app"
    assert resource["service.version"] == "1.2"
    assert resource["shipper.generation"] == "g1"
    assert resource["deployment.environment.name"] == "staging"
    assert resource["service.instance.id"][14] == "5"  # computed (UUIDv5), not made up (UUIDv4)
    assert "Traceback" not in stderr
    assert not root.exists()


def test_the_detector_gives_a_forked_child_an_identity_of_its_own() -> None:
    """A provider's resource in a forked child has the child's computed instance id and pid."""
    script = (
        "import os; from opentelemetry.sdk.trace import TracerProvider; provider = TracerProvider(); "
        "before = dict(provider.resource.attributes)\n"
        "if (pid := os.fork()) == 0:\n"
        "    after = provider.resource.attributes\n"
        "    import shipper\n"
        "    ok = after['service.instance.id'] == shipper.identity().instance != before['service.instance.id']\n"
        "    os._exit(0 if ok and after['process.pid'] == os.getpid() else 1)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
    )
    env = environment(OTEL_EXPERIMENTAL_RESOURCE_DETECTORS="shipper")
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("processor", ["batch", "simple"])
def test_by_declarative_configuration(tmp_path: Path, processor: str) -> None:
    """A configuration file names the detector and the exporters; everything is handed over when the program ends."""
    pytest.importorskip("opentelemetry.configuration")
    root = spool(tmp_path)
    config = tmp_path / "otel.yaml"
    config.write_text(f"""
file_format: "1.0"
resource:
  attributes:
    - {{name: service.name, value: app}}
  detection/development:
    detectors:
      - shipper: {{}}
tracer_provider:
  processors:
    - {processor}: {{exporter: {{shipper: {{spool: "{root}"}}}}}}
logger_provider:
  processors:
    - {processor}: {{exporter: {{shipper: {{spool: "{root}"}}}}}}
meter_provider:
  readers:
    - periodic: {{exporter: {{shipper: {{spool: "{root}"}}}}}}
""")
    env = {"OTEL_PYTHON_DISTRO": "distro", "OTEL_PYTHON_CONFIGURATOR": "configurator", "OTEL_CONFIG_FILE": str(config)}
    _, stderr = instrumented(tmp_path, "metrics", SHIPPER_RELEASE="1.2", **env)
    process = only(root)
    complete(process)
    assert counted(process)["done"] == 20
    assert process.stated["service.name"] == "app"
    assert process.stated["service.version"] == "1.2"
    assert "Traceback" not in stderr


def test_by_exporter_names_in_variables(tmp_path: Path) -> None:
    """OTEL_*_EXPORTER=shipper with any distro; the hook's processors come too, and nothing is doubled."""
    root = spool(tmp_path)
    env = {"OTEL_PYTHON_DISTRO": "distro", "OTEL_PYTHON_CONFIGURATOR": "configurator"}
    exporters = {f"OTEL_{signal}_EXPORTER": "shipper" for signal in ("TRACES", "LOGS", "METRICS")}
    instrumented(tmp_path, "metrics", SHIPPER_SPOOL_DIR=str(root), **env, **exporters)
    processes = written(root)
    assert sum(len(process.metrics) for process in processes) == 1
    assert [name for process in processes for name in process.names if name.startswith("work")] == SPANS
    assert [body for process in processes for body in process.bodies if body.startswith("line")] == LINES


def test_by_distro_to_a_destination_through_a_sidecar(tmp_path: Path) -> None:
    """What a program without a line of ours emits arrives at the destination, as the sidecar's host and with its life."""

    async def main() -> None:
        async with Sink() as sink, sidecar(tmp_path / "web-1", sink.url) as host:
            await host.up()
            root = tmp_path / "web-1/state/spool"
            env = {"OTEL_PYTHON_DISTRO": "shipper", "SHIPPER_SPOOL_DIR": str(root), "OTEL_SERVICE_NAME": "app"}
            await asyncio.to_thread(instrumented, tmp_path, "metrics", **env)
            await until(lambda: len(_lines(sink)) >= len(LINES) and _spans(sink), "everything arrived")
            assert sorted(_lines(sink)) == sorted(LINES)
            spans = _spans(sink)
            assert sorted(spans) == sorted(SPANS)
            for resource in spans.values():
                assert resource["service.name"] == "app"
                assert resource["service.version"] == "1.2.3"
                assert resource["shipper.generation"] == "g1"
                assert resource["host.name"] == "web-1"
                assert resource["shipper.life.id"]

    asyncio.run(main())


def _lines(sink: Sink) -> list[str]:
    """The program's log lines that arrived."""
    logs = [request for request in sink.kept() if request.signal is Signal.LOGS]
    return [line for request in logs for line in request.lines() if line in LINES]


def _spans(sink: Sink) -> dict[str, dict[str, object]]:
    """Name and resource of each span that arrived, when all did."""
    found = {}
    for request in sink.kept():
        if request.signal is Signal.TRACES:
            for envelope in parse(request.signal, request.body).resource_spans:
                resource = {pair.key: pair.value.string_value for pair in envelope.resource.attributes}
                found.update({span.name: resource for scope in envelope.scope_spans for span in scope.spans})
    return found if found.keys() >= set(SPANS) else {}
