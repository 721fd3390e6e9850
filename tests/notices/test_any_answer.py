"""Whatever a metadata service answers, a watcher says something sensible about it and goes on."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.labels.metadata import Answer, NoMetadata
from shipper.notices.azure import AzureWatcher, ScheduledEvents, read_events
from shipper.notices.gce import GceWatcher
from shipper.notices.lambda_extension import LambdaWatcher
from shipper.notices.times import Times
from tests.notices.listening import CountingClock, RecordingBoard

TIMES = [
    "2023-11-14T22:18:20Z",
    "Tue, 14 Nov 2023 22:18:20 GMT",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59Z",
    "",
]
WORDS = [
    "TRUE",
    "FALSE",
    "NONE",
    "PENDING_STOP",
    "STOPPING",
    "MIGRATE_ON_HOST_MAINTENANCE",
    "SHUTDOWN",
    "Preempt",
    "web_3",
]
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(TIMES + WORDS)
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def documents(*keys: str) -> st.SearchStrategy[dict[str, object]]:
    """Documents with the right keys and anything in them, also objects with those keys."""
    inner = st.fixed_dictionaries({}, optional=dict.fromkeys(keys, ANYTHING))
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys, ANYTHING | inner))


GCE_KEYS = [
    "id",
    "preempted",
    "maintenanceEvent",
    "shutdownDetails",
    "stopState",
    "maxDuration",
    "requestTimestamp",
    "seconds",
    "scheduling",
    "terminationTimestamp",
    "attributes",
    "shipper-drain",
]
AZURE_KEYS = ["EventId", "EventType", "EventStatus", "Resources", "NotBefore", "Description", "EventSource"]


@settings(max_examples=80, deadline=None)
@given(st.lists(documents(*GCE_KEYS), min_size=1, max_size=3), st.sampled_from([None, "", "soon", *TIMES]))
def test_no_description_of_a_machine_is_an_error(answers: list[dict[str, object]], date: str | None) -> None:
    """One after the other: each is understood as far as it goes, or unknown."""
    clock = CountingClock()
    board = RecordingBoard(clock)
    watcher = GceWatcher(clock=clock, times=Times(clock))
    for content in answers:
        answer = Answer(200, {"date": date} if date is not None else {}, json.dumps(content).encode())
        with contextlib.suppress(NoMetadata):
            watcher._tell(answer, board)
        assert not any(one.at < clock.monotonic() for one in board.all())


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(documents(*AZURE_KEYS) | ANYTHING, max_size=3), min_size=1, max_size=3))
def test_no_list_of_events_is_an_error(lists: list[list[object]]) -> None:
    """Entries that are none are said, and take nothing away with them."""
    clock = CountingClock()
    board = RecordingBoard(clock)
    events = ScheduledEvents(clock=clock)
    events.own_name = "web_3"
    watcher = AzureWatcher(clock=clock, times=Times(clock), events=events, hostname="web_3")
    for entries in lists:
        answer = Answer(200, {}, json.dumps({"Events": entries}).encode())
        watcher._tell(*read_events(answer), answer, board)
        assert not any(one.at < clock.monotonic() for one in board.all())


@settings(max_examples=50, deadline=None)
@given(documents("eventType", "shutdownReason", "deadlineMs"))
def test_no_shutdown_is_an_error(event: dict[str, object]) -> None:
    """The end of a function's environment is a notice with a time within a minute, whatever it states."""
    clock = CountingClock()
    board = RecordingBoard(clock)
    watcher = LambdaWatcher(clock=clock, report=board.reported, times=Times(clock), runtime_api="127.0.0.1:1")
    board.notice(watcher._end(event, None))
    assert 0 < board.left() <= 60
