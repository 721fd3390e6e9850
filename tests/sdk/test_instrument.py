"""Loading the OpenTelemetry instrumentors that are installed, each in a process of its own: they cannot be undone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPORT = """
import json, logging, sys
from shipper.sdk.web.instrument import load_instrumentors
"""


def run(script: str, tmp_path: Path, *, launcher: tuple[str, ...] = (), **env: str) -> Any:
    """What the script printed as JSON; nothing else was said, but by a launcher about its distributions."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "DJANGO_"))}
    (tmp_path / "script.py").write_text(REPORT + script)
    path = f"{Path(__file__).parents[2]}:{tmp_path}"
    answer = subprocess.run(
        [*launcher, sys.executable, str(tmp_path / "script.py")],
        capture_output=True,
        text=True,
        check=False,
        env=inherited | {"PYTHONPATH": path, "OTEL_PYTHON_LOG_LEVEL": "info"} | env,
    )
    assert (answer.returncode, "" if launcher else answer.stderr) == (0, ""), answer.stderr
    return json.loads(answer.stdout)


def plugin(tmp_path: Path, name: str, body: str) -> None:
    """An installed distribution with one instrumentor."""
    (tmp_path / f"{name}.py").write_text(
        "from opentelemetry.instrumentation.instrumentor import BaseInstrumentor\n"
        f"class Instrumentor(BaseInstrumentor):\n"
        f"    def instrumentation_dependencies(self): return ()\n"
        f"    def _uninstrument(self, **kwargs): pass\n"
        f"    def _instrument(self, **kwargs): {body}\n"
    )
    info = tmp_path / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text(f"[opentelemetry_instrumentor]\n{name} = {name}:Instrumentor\n")


def metadata(tmp_path: Path, name: str, *needs: str, any_of: tuple[str, ...] = ()) -> None:
    """What the instrumentor of `plugin` instruments: ``name``, or ``name; marker and``."""
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0"]
    for extra, wanted in (("instruments", needs), ("instruments-any", any_of)):
        for need in wanted:
            library, _, marker = need.partition(";")
            lines.append(f'Requires-Dist: {library} ;{marker} extra == "{extra}"')
    (tmp_path / f"{name}-1.0.dist-info/METADATA").write_text("\n".join(lines) + "\n")


SEEN = "__import__('__main__').seen.append(__name__)"
FRAMEWORKS = [
    "fastapi",
    "flask",
    "starlette",
    "celery",
    "django",
    "aiohttp",
    "werkzeug",
    "requests",
    "httpx",
    "asgiref",
]
ACTIVE = """
def active(*names):
    import importlib
    found = []
    for name in names:
        module = importlib.import_module("opentelemetry.instrumentation." + name.lower())
        found.append(getattr(module, name + "Instrumentor")().is_instrumented_by_opentelemetry)
    return found
"""


def test_what_is_imported_is_instrumented_once(tmp_path: Path) -> None:
    """The first call activates those of imported libraries, the second none; Django's waits until there are settings."""
    first, second = run(
        f"import {', '.join(FRAMEWORKS[:5])}\nprint(json.dumps([load_instrumentors(), load_instrumentors()]))", tmp_path
    )
    assert {"fastapi", "flask", "starlette", "celery"} <= set(first)
    assert "django" not in first
    assert second == []


def test_what_a_service_does_not_use_is_not_imported(tmp_path: Path) -> None:
    """Installed instrumentors import neither frameworks nor themselves, and are not said to be loaded while they wait."""
    names = [*FRAMEWORKS, "wrapt", "packaging", "opentelemetry.instrumentation.instrumentor"]
    script = f"loaded = load_instrumentors()\nprint(json.dumps([loaded, [n for n in {names} if n in sys.modules]]))"
    assert run(script, tmp_path) == [[], []]


@pytest.mark.parametrize(
    ("line", "kind", "module"),
    [
        ("from fastapi import FastAPI as kind", "FastAPI", "opentelemetry.instrumentation.fastapi"),
        ("from flask import Flask as kind", "Flask", "opentelemetry.instrumentation.flask"),
        (
            "from starlette.applications import Starlette as kind",
            "Starlette",
            "opentelemetry.instrumentation.starlette",
        ),
    ],
)
def test_what_is_imported_later_is_instrumented_then(tmp_path: Path, line: str, kind: str, module: str) -> None:
    """The very statement that imports a framework gets what the instrumentor made of it."""
    script = f"load_instrumentors()\n{line}\nprint(json.dumps([kind.__name__, kind.__module__]))"
    assert run(script, tmp_path) == [f"_Instrumented{kind}", module]


def test_a_framework_on_top_of_another_is_built_on_what_that_was(tmp_path: Path) -> None:
    """FastAPI imports Starlette: both are instrumented, but FastAPI is no instrumented Starlette, which would trace twice."""
    script = """
load_instrumentors()
import fastapi, starlette.applications
names = [kind.__name__ for kind in fastapi.FastAPI.__mro__]
print(json.dumps([names, starlette.applications.Starlette.__name__]))
"""
    names, name = run(script, tmp_path)
    assert name == "_InstrumentedStarlette"
    assert names[:3] == ["_InstrumentedFastAPI", "FastAPI", "Starlette"]


def test_one_that_needs_two_libraries_waits_for_both(tmp_path: Path) -> None:
    """All requirements of the extra ``instruments``, and one of ``instruments-any``, in whatever order they come."""
    plugin(tmp_path, "both", SEEN)
    metadata(
        tmp_path,
        "both",
        "flask",
        "celery; python_version > '3' and",
        any_of=("no-such-library", "Starlette", "fastapi"),
    )
    script = """
seen = []
load_instrumentors()
import flask, starlette
before = list(seen)
import celery
print(json.dumps([before, seen]))
"""
    assert run(script, tmp_path) == [[], ["both"]]


def test_celery_that_is_imported_later_has_its_tasks_traced(tmp_path: Path) -> None:
    """Celery puts another object in the place of its module while it is imported."""
    script = f"{ACTIVE}\nload_instrumentors()\nfrom celery import Celery\nprint(json.dumps(active('Celery')))"
    assert run(script, tmp_path) == [True]


def test_an_instrumentor_that_fails_in_an_import_does_not_fail_the_import(tmp_path: Path) -> None:
    """It is said in one sentence, and the module is there."""
    plugin(tmp_path, "broken", "raise RuntimeError('boom')")
    metadata(tmp_path, "broken", "Flask")
    script = """
from shipper.sdk import voice
said = []
voice.say = lambda text, *_: said.append(text)
load_instrumentors()
import flask
print(json.dumps([said, flask.Flask.__name__]))
"""
    said, name = run(script, tmp_path)
    assert said == ["the OpenTelemetry instrumentation 'broken' failed and was left out: RuntimeError: boom"]
    assert name == "_InstrumentedFlask"


def test_a_library_of_another_name_than_its_distribution_is_found(tmp_path: Path) -> None:
    """What a distribution is imported as stands in its list of files, also inside of a namespace."""
    plugin(tmp_path, "named", SEEN)
    metadata(tmp_path, "named", "Some.Thing")
    (tmp_path / "space" / "thing").mkdir(parents=True)
    (tmp_path / "space" / "thing" / "__init__.py").touch()
    info = tmp_path / "some_thing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-thing\nVersion: 1.0\n")
    (info / "RECORD").write_text("space/thing/deep/__init__.py,,\nspace/thing/__init__.py,,\nsome_thing.txt,,\n")
    script = (
        "seen = []\nload_instrumentors()\nbefore = list(seen)\nimport space.thing\nprint(json.dumps([before, seen]))"
    )
    assert run(script, tmp_path) == [[], ["named"]]


@pytest.mark.parametrize(("setting", "left"), [("flask, celery", {"flask", "celery"}), ("*", None)])
def test_disabled_instrumentations_stay_away(tmp_path: Path, setting: str, left: set[str] | None) -> None:
    """OTEL_PYTHON_DISABLED_INSTRUMENTATIONS means what it means to opentelemetry-instrument."""
    loaded = set(
        run(
            "import flask, celery; print(json.dumps(load_instrumentors()))",
            tmp_path,
            OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=setting,
        )
    )
    assert not loaded & left if left else loaded == set()


@pytest.mark.parametrize(("ships", "handlers"), [(True, 0), (False, 1)])
def test_log_records_are_not_handed_over_twice(tmp_path: Path, ships: bool, handlers: int) -> None:
    """Where our bridge ships logs the logging instrumentor gets no handler on the root logger; else it may have it."""
    script = f"load_instrumentors(ships_logs={ships}); print(json.dumps(len(logging.getLogger().handlers)))"
    assert run(script, tmp_path) == handlers


def test_a_service_that_instruments_logging_by_itself_gets_no_handler_either(tmp_path: Path) -> None:
    """Where nothing is asked of it the instrumentor is not loaded; whoever loads it finds it active, as ever."""
    script = """
loaded = load_instrumentors()
from opentelemetry.instrumentation.logging import LoggingInstrumentor
active = LoggingInstrumentor().is_instrumented_by_opentelemetry
print(json.dumps([loaded, active, len(logging.getLogger().handlers)]))
"""
    assert run(script, tmp_path) == [[], True, 0]


def test_trace_ids_on_log_records_are_there_where_they_are_asked_for(tmp_path: Path) -> None:
    """OTEL_PYTHON_LOG_CORRELATION is the logging instrumentor's, and works as without us."""
    script = """
loaded = load_instrumentors()
record = logging.getLogRecordFactory()("shop", logging.INFO, "shop.py", 1, "sold", (), None)
print(json.dumps([loaded, hasattr(record, "otelTraceID")]))
"""
    assert run(script, tmp_path, OTEL_PYTHON_LOG_CORRELATION="true") == [["logging"], True]


@pytest.mark.parametrize("ours", [True, False])
def test_of_two_handlers_one_is_taken_away(tmp_path: Path, ours: bool) -> None:
    """opentelemetry-instrument installs its handler before anybody can tell it about us; alone, it stays."""
    script = f"""
from opentelemetry.instrumentation.logging import LoggingInstrumentor
LoggingInstrumentor().instrument()
class Ours(logging.NullHandler):
    __module__ = "shipper.sdk.logbridge.bridge"
if {ours}:
    logging.getLogger().addHandler(Ours())
load_instrumentors()
print(json.dumps([type(handler).__name__ for handler in logging.getLogger().handlers]))
"""
    assert run(script, tmp_path) == ["Ours" if ours else "LoggingHandler"]


def test_after_opentelemetry_instrument_there_is_nothing_left_to_load(tmp_path: Path) -> None:
    """Under its launcher everything is active already."""
    launcher = (str(Path(sys.executable).with_name("opentelemetry-instrument")),)
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    loaded = run(
        "print(json.dumps(load_instrumentors()))",
        tmp_path,
        launcher=launcher,
        OTEL_PYTHON_DISTRO="distro",
        SHIPPER_HANDOFF="off",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="django",
        **none,
    )
    assert loaded == []


def test_django_is_instrumented_when_its_settings_can_be_read(tmp_path: Path) -> None:
    """With DJANGO_SETTINGS_MODULE its instrumentor puts itself into MIDDLEWARE, as under its own launcher."""
    (tmp_path / "shop_settings.py").write_text("MIDDLEWARE = []\nSECRET_KEY = 'x'\n")
    script = """
load_instrumentors()
from django.conf import settings
print(json.dumps(len(settings.MIDDLEWARE)))
"""
    assert run(script, tmp_path, DJANGO_SETTINGS_MODULE="shop_settings") == 1


def test_settings_that_are_being_read_are_not_read_half(tmp_path: Path) -> None:
    """``shipper.init()`` inside settings.py must not make Django take the half of them that is there already."""
    (tmp_path / "shop_settings.py").write_text(
        "from shipper.sdk.web.instrument import load_instrumentors\nload_instrumentors()\nMIDDLEWARE = ['late']\nSECRET_KEY = 'x'\n"
    )
    script = "from django.conf import settings\nprint(json.dumps(settings.MIDDLEWARE))"
    assert run(script, tmp_path, DJANGO_SETTINGS_MODULE="shop_settings") == ["late"]


def test_settings_that_come_later_are_not_forestalled(tmp_path: Path) -> None:
    """A manage.py that calls us before it names its settings finds them unconfigured."""
    script = "load_instrumentors()\nfrom django.conf import settings\nprint(json.dumps(settings.configured))"
    assert run(script, tmp_path) is False


def test_a_conflict_is_skipped_quietly(tmp_path: Path) -> None:
    """An instrumentor for a library that is not installed, or in another version, is no event."""
    for name, need in (("absent", "no-such-library >= 1"), ("old", "flask < 1")):
        plugin(tmp_path, name, "raise AssertionError")
        metadata(tmp_path, name, need)
    loaded = run("import flask; print(json.dumps(load_instrumentors()))", tmp_path)
    assert not {"absent", "old"} & set(loaded)


def test_one_that_fails_is_said_and_the_others_are_loaded(tmp_path: Path) -> None:
    """A broken instrumentor costs itself and one sentence, never the service's start."""
    plugin(tmp_path, "broken", "raise RuntimeError('boom')")
    metadata(tmp_path, "broken")
    script = """
from shipper.sdk import voice
said = []
voice.say = lambda text, *_: said.append(text)
import flask
print(json.dumps([load_instrumentors(), said]))
"""
    loaded, said = run(script, tmp_path)
    assert "flask" in loaded
    assert said == [
        "the OpenTelemetry instrumentation 'broken' failed and was left out: RuntimeError: boom",
    ]


def test_without_the_package_there_is_nothing_to_load(tmp_path: Path) -> None:
    """opentelemetry-instrumentation is an extra; a service without it starts like any other."""
    script = """
sys.modules["opentelemetry.instrumentation.dependencies"] = None
print(json.dumps(load_instrumentors()))
"""
    assert run(script, tmp_path) == []
