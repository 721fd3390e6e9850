"""Logging at bad moments: within logging, in a signal handler, in a forked child, at the end of the stack or the interpreter."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from shipper.sdk.logbridge import bridge, hook
from shipper.sdk.logbridge.bridge import ShipperHandler
from tests.sdk.bridge_kit import bodies, bridged, log
from tests.sdk.memory_spool import MemorySpool, nothing_stated

pytestmark = pytest.mark.usefixtures("untouched_logging")


class Talkative:
    """Logs when it is asked for its text."""

    def __init__(self, endlessly: bool = False) -> None:
        self.endlessly = endlessly

    def __str__(self) -> str:
        log.info("inside %s", self if self.endlessly else "str()")
        return "talkative"


def test_logging_while_a_record_is_encoded_is_a_record_too() -> None:
    """The __str__ of an argument may log; what is not endless arrives whole."""
    series = bridged()
    log.propagate = False
    log.addHandler(logging.NullHandler())
    log.info("outer %s", Talkative())
    assert bodies(series) == ["inside str()", "outer talkative"]


def test_endless_logging_ends() -> None:
    """An object that logs itself whenever it is logged is stopped, counted, and hurts nobody."""
    spool = MemorySpool()
    handler = ShipperHandler(spool, nothing_stated)
    bridge.install(handler)
    log.propagate = False
    log.addHandler(logging.NullHandler())
    log.info("outer %s", Talkative(endlessly=True))
    assert 1 <= len(bodies(spool.series("logs"))) <= 4
    assert sum(handler.faults.counts.values()) >= 1


def test_a_signal_handler_may_log_while_a_record_is_handed_over() -> None:
    """The interrupted record and the one of the signal handler both arrive: there is no lock to wait for."""
    spool = MemorySpool()
    series = spool.series("logs")
    append, signals = series.append, []

    def interrupted(*args: Any, **kwargs: Any) -> bool:
        if not signals:
            signals.append(1)
            os.kill(os.getpid(), signal.SIGUSR1)
        return append(*args, **kwargs)

    series.append = interrupted  # type: ignore[method-assign]
    before = signal.signal(signal.SIGUSR1, lambda *_: log.warning("from the handler"))
    try:
        bridged(spool)
        log.info("interrupted")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert sorted(bodies(series)) == ["from the handler", "interrupted"]


def test_a_thread_that_is_stuck_in_the_handover_stops_no_other() -> None:
    """No lock is held while a record is written."""
    spool = MemorySpool()
    series = spool.series("logs")
    append, go, stuck = series.append, threading.Event(), threading.Event()

    def slow(*args: Any, **kwargs: Any) -> bool:
        if threading.current_thread() is not threading.main_thread():
            stuck.set()
            go.wait(30)
        return append(*args, **kwargs)

    series.append = slow  # type: ignore[method-assign]
    bridged(spool)
    thread = threading.Thread(target=log.info, args=("slow",))
    thread.start()
    assert stuck.wait(30)
    log.info("not held up")
    assert bodies(series) == ["not held up"]
    go.set()
    thread.join()
    assert bodies(series) == ["not held up", "slow"]


def test_a_forked_child_declares_its_scopes_and_resource_anew() -> None:
    """Numbers of the parent's series mean nothing in the child's."""
    spool = MemorySpool()
    asked: list[int] = []
    bridged(spool, resource=lambda: asked.append(os.getpid()))
    log.info("parent")
    child = os.fork()
    if child == 0:
        spool.series("logs").scopes.clear()
        log.info("child")
        log.info("child again")
        os._exit(0 if len(spool.series("logs").scopes) == 1 and len(asked) == 2 and asked[1] == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asked == [os.getpid()]


LAST_WORDS = """
import builtins, logging, sys, threading
from shipper.sdk.logbridge import bridge
from shipper.sdk.logbridge.bridge import ShipperHandler
from tests.sdk.memory_spool import MemorySpool, nothing_stated

class Last:
    def __init__(self, say=print):
        self.log = logging.getLogger("last")
    def __del__(self):
        self.log.info("words")

logging.getLogger().setLevel(10)
bridge.install(ShipperHandler(MemorySpool(), nothing_stated))
builtins.last = Last()
sys.modules["zzz_last"] = Last()
Last.cycle = Last()
logging.getLogger("last").info("first")
"""


def test_the_last_words_of_an_ending_interpreter_are_no_trouble() -> None:
    """Objects that log while the interpreter goes down, modules half gone, raise nothing."""
    done = subprocess.run(
        [sys.executable, "-c", LAST_WORDS], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_service_at_the_end_of_its_stack_gets_no_fault_of_ours() -> None:
    """Logging in the depth of an endless recursion raises nothing but the recursion's own error."""
    series = bridged()
    log.propagate = False
    log.addHandler(logging.NullHandler())
    reached = []

    def deeper(depth: int) -> None:
        reached.append(depth)
        try:
            deeper(depth + 1)
        finally:
            for handler in (hook.installed(),):
                assert handler is not None
                handler.handle(RECORD)

    with pytest.raises(RecursionError):
        deeper(0)
    assert len(series.given) > 100
    log.info("counted now")
    assert set(series.dropped) <= {"stack exhausted"}


RECORD = logging.LogRecord("shop.orders", 20, "p", 1, "m", None, None)
