"""The same error has the same fingerprint, whatever changed around it; and every exception can be described."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.sdk.emit.exceptions import MAX_STACK, MESSAGE, STACK, TYPE, describe, shorten
from shipper.sdk.emit.fingerprint import FINGERPRINT, fingerprint, module_of

TRACEBACK = """\
Traceback (most recent call last):
  File "{root}/shop/web.py", line {line}, in post
    charge(order)
  File "{venv}/site-packages/requests/sessions.py", line 703, in send
    raise ConnectionError(error)
  File "{root}/shop/pay.py", line 77, in charge
    raise PaymentError({message!r})
shop.pay.PaymentError: {message}
"""


def text(
    root: str = "/srv/a", venv: str = "/srv/a/venv/lib/python3.11", line: int = 12, message: str = "order 17"
) -> str:
    return TRACEBACK.format(root=root, venv=venv, line=line, message=message)


def of(stack: str, kind: str = "shop.pay.PaymentError", message: str = "") -> str:
    return fingerprint(kind, stack, message)


def test_moved_lines_other_directories_and_messages_change_nothing() -> None:
    """A release in another directory, another virtual environment, with lines moved and other values: the same error."""
    first = of(text())
    assert first == of(text(root="/opt/releases/2026-11-23", venv="/opt/venvs/x/lib64/python3.12", line=99))
    assert first == of(text(message="order 18"), message="order 18")
    assert first.startswith("v1-")
    assert len(first) == 19


def test_another_type_function_or_module_is_another_error() -> None:
    """What is raised and where tells errors apart."""
    first = of(text())
    others = {
        of(text(), kind="shop.pay.OtherError"),
        of(text().replace("in charge", "in refund")),
        of(text().replace("shop/pay.py", "shop/money.py")),
        of(
            "Traceback (most recent call last):\nKeyError: 1\n\n"
            + "During handling of the above exception\n\n"
            + text()
        ),
    }
    assert first not in others
    assert len(others) == 4


def test_frames_of_libraries_do_not_count_where_there_are_own_ones() -> None:
    """An update of a library that calls differently inside leaves the service's errors what they are."""
    assert of(text()) == of(text().replace("in send", "in _send_with_retry").replace("sessions.py", "transport.py"))


def test_without_own_frames_those_of_libraries_count_by_module() -> None:
    """An error entirely inside libraries is told by them, wherever they are installed."""
    stack = 'Traceback (most recent call last):\n  File "{}/lib/python3.{}/{}.py", line 5, in run\n    x\nE: m\n'
    first = of(stack.format("/usr", 11, "site-packages/celery/app"))
    assert first == of(stack.format("/home/me/.venv", 12, "site-packages/celery/app"))
    assert first != of(stack.format("/usr", 11, "site-packages/kombu/app"))
    assert of(stack.format("/usr", 11, "threading")) == of(stack.format("/opt/python", 13, "threading"))


def test_frozen_frames_and_comprehensions_do_not_count() -> None:
    """Frames that only some versions of Python have, or name differently, leave the fingerprint alone."""
    with_frozen = text().replace(
        '  File "/srv/a/shop/pay.py"',
        '  File "<frozen importlib._bootstrap>", line 1, in _call\n  File "/srv/a/shop/pay.py", line 3, in <listcomp>\n'
        '    [charge(o) for o in orders]\n  File "/srv/a/shop/pay.py"',
    )
    assert of(with_frozen) == of(text())
    assert module_of("<frozen importlib._bootstrap>") == ("importlib._bootstrap", False)
    assert module_of("<ipython-input-3-a1>") == module_of("<ipython-input-9-a1>")


def test_markers_under_the_source_do_not_count() -> None:
    """The rows of ^^^^ that Python 3.11 added are no lines of the message."""
    marked = text().replace("    charge(order)\n", "    charge(order)\n    ~~~~~~^^^^^^^\n")
    assert of(marked) == of(text())


def test_the_depth_of_a_recursion_does_not_count() -> None:
    """One round more or less is the same error, with one function or several taking turns."""

    def even(n: int) -> int:
        return odd(n - 1) if n else int("x")

    def odd(n: int) -> int:
        return even(n - 1)

    found = set()
    for depth in (2, 6, 40):
        try:
            even(depth)
        except ValueError as error:
            found.add(describe(error, error.__traceback__)[FINGERPRINT])
    assert len(found) == 1


def test_only_the_innermost_own_frames_count() -> None:
    """Code far from where it is raised, such as a new middleware, does not make another error of it."""
    outer = 'Traceback (most recent call last):\n  File "/srv/a/app/outer{}.py", line 1, in call\n    next()\n'
    inner = "".join(f'  File "/srv/a/app/m.py", line {n}, in f{n}\n    x\n' for n in range(4)) + "E: m\n"
    assert of(outer.format(1) + inner) == of(outer.format(2) + inner)


def test_without_a_traceback_the_message_counts_without_its_values() -> None:
    """An exception that was never raised is told by its type and the fixed part of its message."""
    assert fingerprint("E", "E: m", "user 12 'bob' 0x7f3a at 10:22:31.5") == fingerprint(
        "E", "E: m", "user 7 'eve' 0x1234 at 09:01:00.1"
    )
    one, two = "9f1c7b3a-1111-4222-8333-444455556666", "00000000-1111-4222-8333-444455556666"
    assert fingerprint("E", "", f"job {one} of deadbeef01") == fingerprint("E", "", f"job {two} of 0badcafe99")
    assert fingerprint("E", "", "no such user") != fingerprint("E", "", "no such order")


def run(path: Path) -> str:
    """The fingerprint that the program at ``path`` prints."""
    done = subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        cwd=path.parent,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout.startswith("v1-"), done.stderr
    return done.stdout.strip()


SERVICE = """
import sys
{filler}
from shipper.sdk.emit.exceptions import describe

class Shop:
    def pay(self, order):
        {more}
        raise LookupError(f"order {{order}} at {{hex(id(self))}}")

def main():
    Shop().pay({order})

try:
    main()
except LookupError as error:
    print(describe(error, error.__traceback__)["shipper.exception.fingerprint"])
"""


def test_two_releases_of_a_service_agree(tmp_path: Path) -> None:
    """The same program, moved, with lines added, run as a script or imported, comes to one fingerprint."""
    found = set()
    for number, (filler, more) in enumerate(
        [("", "pass"), ("import json\n\n\n", "total = order + 1"), ("# v3", "pass")]
    ):
        path = tmp_path / f"release-{number}" / "shop.py"
        path.parent.mkdir()
        path.write_text(SERVICE.format(filler=filler, more=more, order=number))
        found.add(run(path))
    imported = tmp_path / "release-0" / "start.py"
    imported.write_text("import shop\n")
    found.add(run(imported))
    assert len(found) == 1


def raised(make: Callable[[], object]) -> BaseException:
    try:
        make()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def fail(error: BaseException) -> None:
    raise error


def test_cause_and_context_are_in_the_stack_and_count_by_type() -> None:
    """What led to an error is told with it; another cause is another error, another message of it is not."""

    def caused(cause: BaseException) -> dict[str, str]:
        def failing() -> None:
            try:
                fail(cause)
            except BaseException as error:
                raise RuntimeError("outer") from error

        error = raised(failing)
        return describe(error, error.__traceback__)

    first = caused(KeyError("one"))
    assert (first[TYPE], first[MESSAGE]) == ("RuntimeError", "outer")
    assert "KeyError: 'one'" in first[STACK]
    assert first[FINGERPRINT] == caused(KeyError("two"))[FINGERPRINT]
    assert first[FINGERPRINT] != caused(OSError("one"))[FINGERPRINT]


def test_a_group_is_known_by_its_own_frames_and_the_types_of_its_members() -> None:
    """The order and number of an exception group's members do not matter, their types do."""

    def group(*members: Exception) -> dict[str, str]:
        caught = [raised(lambda one=one: fail(one)) for one in members]
        error = raised(lambda: fail(ExceptionGroup("several", caught)))  # type: ignore[type-var]
        return describe(error, error.__traceback__)

    first = group(KeyError("a"), OSError("b"), ExceptionGroup("in", [ValueError("c")]))
    assert first[TYPE] == "ExceptionGroup"
    assert "several (3 sub-exceptions)" in first[STACK]
    same = group(ExceptionGroup("in", [ValueError("d")]), OSError("x"), OSError("y"), KeyError("z"))
    assert first[FINGERPRINT] == same[FINGERPRINT]
    assert first[FINGERPRINT] != group(KeyError("a"), OSError("b"))[FINGERPRINT]


def test_an_exception_that_caused_itself_ends() -> None:
    """A cycle of causes is followed once around."""
    one, two = ValueError("one"), KeyError("two")
    one.__cause__, two.__cause__ = two, one
    found = describe(one)
    assert "ValueError: one" in found[STACK]
    assert "KeyError: 'two'" in found[STACK]


def test_a_very_long_chain_is_cut() -> None:
    """A retry loop that chained thousands of exceptions costs neither time nor space."""
    error: BaseException = ValueError("first")
    for number in range(3000):
        following = ValueError(f"number {number}")
        following.__context__ = error
        error = following
    found = describe(error)
    assert "number 2999" in found[STACK]
    assert found[STACK].count("ValueError") == 32
    assert len(found[STACK]) < MAX_STACK


def test_a_very_long_stack_keeps_both_ends() -> None:
    """Where it began and where it ended are left of a stack that is too long."""
    stack = "begin\n" + "x" * 200_000 + "\nend"
    cut = shorten(stack)
    assert cut.startswith("begin\n")
    assert cut.endswith("\nend")
    assert len(cut) < MAX_STACK + 100
    error = raised(lambda: fail(ValueError("y" * 500_000)))
    assert len(describe(error, error.__traceback__)[STACK]) < MAX_STACK + 100


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


class Unlikely(type):
    @property
    def __module__(cls) -> int:  # type: ignore[override]
        return 5


class Odd(Exception, metaclass=Unlikely):
    pass


@pytest.mark.parametrize("error", [Unspeakable(), Odd("x"), KeyboardInterrupt(), SystemExit(3), StopIteration(), None])
def test_every_exception_can_be_described(error: BaseException | None) -> None:
    """Whatever an exception is like, it gives four texts."""
    found = describe(error, None, None if error is not None else ValueError)
    assert all(isinstance(value, str) for value in found.values())
    assert found[TYPE]


def test_a_recursion_error_is_described() -> None:
    """The deepest of all stacks is short, because the same lines are told once."""

    def endless() -> None:
        endless()

    error = raised(endless)
    found = describe(error, error.__traceback__)
    assert found[TYPE] == "RecursionError"
    assert len(found[STACK]) < 5000


@settings(max_examples=200, deadline=None)
@given(kind=st.text(), stack=st.text(), message=st.text())
def test_any_text_has_a_fingerprint(kind: str, stack: str, message: str) -> None:
    """What comes as a traceback may be anything; there is always a fingerprint, the same for the same."""
    assert fingerprint(kind, stack, message) == fingerprint(kind, stack, message)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*text().splitlines(), "  + Exception Group Traceback (most recent call last):", "  | E: m",
    "  +-+---------------- 1 ----------------", "    | Traceback (most recent call last):", '    |   File "x.py", line 1, in f',
    "The above exception was the direct cause of the following exception:", "", "E"]), max_size=30))  # fmt: skip
def test_a_damaged_traceback_has_a_fingerprint(lines: list[str]) -> None:
    """Pieces of tracebacks in any order are read without a fault."""
    assert len(of("\n".join(lines))) == 19
