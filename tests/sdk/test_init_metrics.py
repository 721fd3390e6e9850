"""OpenTelemetry metrics through the hand-off: lazy, cumulative, and each process counts for itself."""

from __future__ import annotations

from pathlib import Path

from tests.sdk.initkit import counted, only, service, spool, written

START = """
import os, sys, threading, shipper
from opentelemetry import metrics
shipper.init(service="checkout", instrument=False)
meter = metrics.get_meter("m")
"""


def test_no_thread_until_something_is_measured(tmp_path: Path) -> None:
    """Making instruments, as instrumentations do when they are loaded, costs neither the SDK's import nor a thread."""
    root = spool(tmp_path)
    answer = service(
        START
        + """
made = [meter.create_counter("a"), meter.create_up_down_counter("b"), meter.create_histogram("c"), meter.create_gauge("d")]
print(threading.active_count(), "opentelemetry.sdk.metrics" in sys.modules)
kept = made[0].add
kept(1, {"k": "v"}); kept(10, {"k": "v"}); made[0].add(2, {"k": "v"}); made[1].add(-4); made[2].record(5.0); made[3].set(6)
print(threading.active_count(), [thread.name for thread in threading.enumerate()][1:])
""",
        SHIPPER_SPOOL_DIR=str(root),
    )
    assert answer.stdout.splitlines() == ["1 False", "2 ['shipper-metrics']"]
    process = only(root)
    assert counted(process) == {"a": 13, "b": -4, "c": 5, "d": 6}
    assert len(process.metrics) == 1


def test_observable_instruments_are_asked(tmp_path: Path) -> None:
    """Callbacks of observable instruments are called for the snapshot at the end too."""
    root = spool(tmp_path)
    service(
        START + "meter.create_observable_gauge('temperature', [lambda options: [metrics.Observation(21)]])",
        SHIPPER_SPOOL_DIR=str(root),
    )
    assert counted(only(root)) == {"temperature": 21}


def test_snapshots_replace_each_other(tmp_path: Path) -> None:
    """A snapshot is cumulative, so that the last one that was written before a SIGKILL holds everything until then."""
    root = spool(tmp_path)
    service(
        "import shipper.sdk.ways.metric_reader as reader\nreader.INTERVAL = 0.01\n"
        + START
        + """
import glob, signal, time
counter = meter.create_counter("sales")
counter.add(1)
counter.add(2)
path = os.environ["SHIPPER_SPOOL_DIR"]
deadline = time.monotonic() + 30
while time.monotonic() < deadline and not glob.glob(path + "/p*/metrics-*"):
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
""",
        expect=-9,
        SHIPPER_SPOOL_DIR=str(root),
    )
    assert counted(only(root)) == {"sales": 3}


def test_a_forked_child_counts_only_its_own(tmp_path: Path) -> None:
    """What the parent counted before the fork is reported by the parent alone; instruments made before go on working."""
    root = spool(tmp_path)
    service(
        START
        + """
counter = meter.create_counter("sales")
counter.add(100)
if (pid := os.fork()) == 0:
    counter.add(1)
    sys.exit()
os.waitpid(pid, 0)
import multiprocessing
process = multiprocessing.get_context("fork").Process(target=counter.add, args=(7,))
process.start()
process.join()
""",
        SHIPPER_SPOOL_DIR=str(root),
    )
    assert sorted(counted(process)["sales"] for process in written(root)) == [1, 7, 100]
    assert len({process.stated["service.instance.id"] for process in written(root)}) == 3


def test_a_callback_that_hangs_or_fails_holds_no_end_up(tmp_path: Path) -> None:
    """A service's callback that raises costs its own instrument; one that never returns costs the last snapshot."""
    root = spool(tmp_path)
    answer = service(
        "import shipper.sdk.ways.metric_reader as reader\nreader.INTERVAL = 0.01\n"
        + START
        + """
entered = threading.Event()
def hang(options):
    entered.set()
    threading.Event().wait()
meter.create_counter("sales").add(1)
meter.create_observable_gauge("never", [hang])
entered.wait()
""",
        SHIPPER_SPOOL_DIR=str(root),
    )
    assert "one of the service's callbacks does not return" in answer.stderr


def test_shutdown_writes_a_last_snapshot_and_may_be_called_again(tmp_path: Path) -> None:
    """shipper.shutdown() before os._exit keeps what was counted."""
    root = spool(tmp_path)
    service(
        START + "meter.create_counter('sales').add(3)\nshipper.shutdown()\nshipper.shutdown()\nos._exit(0)",
        SHIPPER_SPOOL_DIR=str(root),
    )
    assert counted(only(root)) == {"sales": 3}


def test_the_metrics_body_states_what_the_service_stated(tmp_path: Path) -> None:
    """The resource inside a metrics request holds what was stated and no guess: the sidecar adds the rest."""
    root = spool(tmp_path)
    service(START + "meter.create_counter('sales').add(3)", SHIPPER_SPOOL_DIR=str(root))
    process = only(root)
    (request,) = process.metrics
    keys = {pair.key for pair in request.resource_metrics[0].resource.attributes}
    assert keys == process.stated.keys()
    assert "os.type" in process.guessed


def test_metrics_that_cannot_be_set_up_cost_the_service_nothing(tmp_path: Path) -> None:
    """Where the SDK's provider cannot be made, instruments measure nothing, and that is said once."""
    answer = service(
        START
        + """
import opentelemetry.sdk.metrics
opentelemetry.sdk.metrics.MeterProvider = lambda **_: 1 / 0
for name in "ab":
    meter.create_counter(name).add(1)
meter.create_observable_gauge("c", [])
provider = metrics.get_meter_provider()
print(provider.force_flush(), provider.shutdown())
""",
        SHIPPER_SPOOL_DIR=str(spool(tmp_path)),
    )
    assert answer.stdout.split() == ["True", "None"]
    assert answer.stderr.count("OpenTelemetry metrics failed and was left out: ZeroDivisionError") == 1
