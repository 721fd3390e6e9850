"""Waiting for modules: in processes of their own, because what is imported cannot be unimported."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

PRELUDE = """
import importlib.util, sys
from shipper.sdk.later import imported, when_imported
told = []
def tell(*names):
    for name in names:
        when_imported(name, lambda module: told.append(module.__name__))
def waits():
    return any(type(finder).__module__ == "shipper.sdk.later" for finder in sys.meta_path)
"""


def run(tmp_path: Path, script: str, **modules: str) -> list[str]:
    """The lines a script printed, with ``modules`` to be imported."""
    for name, body in modules.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(body))
    (tmp_path / "script.py").write_text(PRELUDE + textwrap.dedent(script))
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    answer = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, check=False, env=environment
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout.splitlines()


def test_what_is_there_is_told_at_once_and_what_comes_is_told_then(tmp_path: Path) -> None:
    """Once for each time it was asked; where nothing is waited for, nothing stands in the way of imports."""
    script = """
        tell("json")
        import json
        tell("json", "later")
        print(told, waits(), imported("later"))
        import later
        print(told, waits(), imported("later"))
    """
    assert run(tmp_path, script, later="") == ["['json', 'json'] True False", "['json', 'json', 'later'] False True"]


def test_looking_for_a_module_is_not_importing_it(tmp_path: Path) -> None:
    """Many look only whether a library is there (find_spec): what waits for it goes on waiting."""
    script = """
        tell("later")
        spec = importlib.util.find_spec("later")
        print(told, spec.origin.endswith("later.py"), spec.loader.get_filename() == spec.origin)
        import later
        print(told, type(later.__loader__).__name__, later.__spec__.loader is later.__loader__)
    """
    assert run(tmp_path, script, later="") == ["[] True True", "['later'] SourceFileLoader True"]


def test_an_import_that_fails_is_waited_for_again(tmp_path: Path) -> None:
    """The service may try once more."""
    script = """
        tell("later", "missing")
        for _ in range(2):
            try:
                import later
            except ZeroDivisionError:
                print(told)
            try:
                import missing
            except ModuleNotFoundError:
                print(told)
            sys.good = True
        print(told, waits())
    """
    body = "import sys; getattr(sys, 'good', False) or 1 / 0"
    assert run(tmp_path, script, later=body) == ["[]", "[]", "['later']", "['later'] True"]


def test_what_is_imported_by_something_waited_for_is_told_after_it(tmp_path: Path) -> None:
    """Also where the outer import fails in the end."""
    script = """
        tell("outer", "inner", "other", "failing")
        import outer
        print(told)
        try:
            import failing
        except ZeroDivisionError:
            print(told)
    """
    modules = {
        "inner": "",
        "other": "",
        "outer": "import inner; from __main__ import told; told.append('outer goes on')",
        "failing": "import other; 1 / 0",
    }
    first, second = run(tmp_path, script, **modules)
    assert first == "['outer goes on', 'inner', 'outer']"
    assert second == "['outer goes on', 'inner', 'outer', 'other']"


def test_a_module_that_is_half_imported_is_told_when_it_is_whole(tmp_path: Path) -> None:
    """Who is waited for from within its own import is told at the next import after it."""
    script = """
        import half
        print(told, imported("half"))
        import later
        print(told, waits())
    """
    half = "from __main__ import imported, tell, told; tell('half'); print(told, imported('half')); import inner"
    assert run(tmp_path, script, half=half, inner="", later="") == ["[] False", "[] True", "['half'] False"]


def test_a_module_that_puts_another_object_in_its_place_is_told_as_that(tmp_path: Path) -> None:
    """Celery does; what is patched must be what the service gets."""
    script = """
        when_imported("later", lambda module: setattr(module, "patched", True))
        import later
        print(later.patched)
    """
    body = "import sys, types; sys.modules[__name__] = types.SimpleNamespace(patched=False)"
    assert run(tmp_path, script, later=body) == ["True"]


def test_a_package_is_told_before_its_submodule_is_imported(tmp_path: Path) -> None:
    """``import package.part`` imports the package first."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "part.py").write_text("from __main__ import told; print(told)")
    assert run(tmp_path, 'tell("package", "package.part")\nimport package.part\nprint(told)') == [
        "['package']",
        "['package', 'package.part']",
    ]
