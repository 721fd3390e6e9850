"""Deploy events in any order, twice, too many, and with labels that nobody would choose."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.contracts import Signal
from shipper.fleet.deploys.model import MAX_TEXT, TOLERANCE_NS, Bounds, DeployEvent, Deploys
from shipper.fleet.deploys.wire import from_otlp, to_otlp
from shipper.otlp import decode
from shipper.testing.clock import START_WALL_NS as T0

SECOND = 1_000_000_000
ODD = 'it\'s "v1"/∞\\n,' + "x" * 300

texts = st.sampled_from(["", "a", "b"])
events = st.builds(
    DeployEvent,
    at_ns=st.integers(1, 6),
    service=st.sampled_from(["api", "web"]),
    env=st.sampled_from(["", "prod"]),
    id=texts,
    action=st.sampled_from(["started", "finished", "failed", "rollback", "withdrawn"]),
    generation=st.sampled_from(["1", "2", ODD]),
    release=texts,
    image=texts,
    from_release=texts,
    desired_hosts=st.integers(0, 2),
    inferred=st.booleans(),
)


def event(at: float, action: str = "started", generation: str = "7", **more: object) -> DeployEvent:
    fields = {"service": "api", "env": "prod", "id": generation, "release": "r1"} | more
    return DeployEvent(at_ns=T0 + round(at * SECOND), action=action, generation=generation, **fields)  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(st.lists(events, max_size=25), st.randoms(use_true_random=False), st.sampled_from([2, 3, 50]))
def test_any_order_and_repetition_of_events_adds_up_to_the_same(told: list[DeployEvent], chance, most: int) -> None:
    """Whatever order events come in and however often, also when more come than are kept, the state is the same."""
    bounds = Bounds(deploys=most, services=2, events=1, all_events=2 * most)
    first = Deploys(told, bounds)
    again = told + [chance.choice(told) for _ in range(len(told) // 2)] if told else []
    chance.shuffle(again)
    half = len(again) // 2
    second = Deploys([*Deploys(again[:half], bounds).events(), *again[half:]], bounds)  # as gateways exchange it
    assert first == second
    assert first.shown() == second.shown()
    assert len(first.events()) <= 2 * most


def test_a_deploy_is_put_together_from_its_events() -> None:
    """Start, finish and what each of them says are one deploy, told in the wrong order too."""
    start = event(0, release="r2", from_release="r1", actor="ann", url="https://ci/1", desired_hosts=4)
    (deploy,) = Deploys([event(60, "finished", release=""), start]).of("api", "prod")
    assert (deploy.started_ns, deploy.finished_ns, deploy.status) == (T0, T0 + 60 * SECOND, "succeeded")
    assert (deploy.release, deploy.from_release, deploy.actor, deploy.desired_hosts) == ("r2", "r1", "ann", 4)
    assert (deploy.rollback, deploy.inferred, deploy.withdrawn_ns) == (False, False, 0)


def test_a_start_told_twice_is_one_start_and_the_last_end_counts() -> None:
    """A pipeline that is repeated started when it first started, and ended as it last ended."""
    (deploy,) = Deploys([event(0), event(5), event(9, "failed"), event(20, "finished")]).of("api", "prod")
    assert (deploy.started_ns, deploy.status) == (T0, "succeeded")


def test_a_deploy_that_never_ends_stays_open() -> None:
    """Without an end there is none."""
    (deploy,) = Deploys([event(0)]).of("api", "prod")
    assert (deploy.finished_ns, deploy.status) == (0, "")


def test_two_deploys_at_once_do_not_mix() -> None:
    """Two deploys of one service at the same time, and two generations of one pipeline, are each their own."""
    told = [event(0, generation="a"), event(1, generation="b"), event(2, "failed", "b"), event(3, "finished", "a")]
    assert [(one.generation, one.status) for one in Deploys(told).of("api", "prod")] == [
        ("a", "succeeded"),
        ("b", "failed"),
    ]
    told = [event(0, generation="eu", id="run-1"), event(1, generation="us", id="run-1")]
    told += [event(9, "finished", "us", id="run-1")]
    assert [(one.generation, one.status) for one in Deploys(told).of("api", "prod")] == [
        ("eu", ""),
        ("us", "succeeded"),
    ]


def test_what_another_pipeline_tells_of_a_generation_belongs_to_its_deploy() -> None:
    """A withdrawal from another run, and an end that names only the id, find the deploy that they end."""
    told = [event(0, id="run-1"), event(30, "withdrawn", id="run-2"), event(20, "finished", "", id="run-1")]
    (deploy,) = Deploys(told).of("api", "prod")
    assert (deploy.status, deploy.withdrawn_ns) == ("succeeded", T0 + 30 * SECOND)


def test_going_back_to_a_generation_is_a_deploy_of_its_own() -> None:
    """Deploy, deploy, and a rollback to the first under its own name are three; a start repeated is still one."""
    told = [event(0, generation="a"), event(1, generation="a"), event(9, "finished", "a"), event(10, generation="b")]
    told += [event(30, "rollback", "a"), event(31, "finished", "a")]
    deploys = Deploys(told).of("api", "prod")
    assert [(one.generation, one.episode, one.rollback) for one in deploys] == [
        ("a", 1, False),
        ("b", 1, False),
        ("a", 2, True),
    ]
    assert [one.finished_ns and (one.finished_ns - T0) // SECOND for one in deploys] == [9, 0, 31]


def test_an_end_without_a_start_is_shown_as_what_it_is() -> None:
    """Of a deploy whose start was never told the end is known, and no start is made up."""
    (deploy,) = Deploys([event(5, "failed")]).of("api", "prod")
    assert (deploy.started_ns, deploy.at_ns, deploy.status) == (0, T0 + 5 * SECOND, "failed")


def test_what_was_told_beats_what_hosts_show() -> None:
    """A deploy inferred from hosts is left out where one of its generation was told at about that time, and kept otherwise."""
    seen = event(40, id="inferred/1/7", inferred=True)
    assert [one.inferred for one in Deploys([event(0), seen]).of("api", "prod")] == [False]
    assert [one.inferred for one in Deploys([event(0, id="x"), seen]).of("api", "prod")] == [False]
    later = event(2 * TOLERANCE_NS / SECOND, id="inferred/2/7", inferred=True)
    assert [one.inferred for one in Deploys([event(0), later]).of("api", "prod")] == [False, True]
    other = event(40, generation="8", id="inferred/1/8", inferred=True)
    assert [one.inferred for one in Deploys([event(0), other]).of("api", "prod")] == [False, True]


def test_a_withdrawal_that_only_hosts_show_is_added_to_the_deploy_that_was_told() -> None:
    """A deploy that was told and whose hosts went away is withdrawn."""
    gone = event(90, "withdrawn", id="inferred/1/7", inferred=True)
    told = [event(0), event(40, id="inferred/1/7", inferred=True), gone]
    (deploy,) = Deploys(told).of("api", "prod")
    assert (deploy.inferred, deploy.withdrawn_ns) == (False, T0 + 90 * SECOND)


def test_episodes_are_counted() -> None:
    """A generation that became the newest again after another is in its second episode; one deployed again is not."""
    told = [event(at, generation=name, id=f"run-{at}") for at, name in enumerate(["a", "a", "b", "a", "b"])]
    assert [(one.generation, one.episode) for one in Deploys(told).of("api", "prod")] == [
        ("a", 1),
        ("a", 1),
        ("b", 1),
        ("a", 2),
        ("b", 2),
    ]


def test_the_newest_deploys_and_services_are_shown_and_the_rest_is_counted() -> None:
    """Of very many deploys and services a bounded number is shown, the newest, and it is said how many are not."""
    told = [event(at, generation=str(at), service=f"s{at % 3}") for at in range(30)]
    shown = Deploys(told, Bounds(deploys=4, services=2)).shown()
    assert {one.service for one in shown.deploys} == {"s1", "s2"}
    assert len(shown.deploys) == 8
    assert (shown.hidden_deploys, shown.hidden_services) == (12, 1)
    assert all(a.at_ns <= b.at_ns for a, b in pairwise(shown.deploys))


def test_what_is_older_than_what_is_kept_alive_is_not_shown() -> None:
    """Deploys of ancient times do no harm."""
    deploys = Deploys([DeployEvent(at_ns=1, service="api", generation="0"), event(0)])
    assert [one.generation for one in deploys.shown(T0 - SECOND).deploys] == ["7"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"service": ""}, "names no service"),
        ({"generation": "", "id": ""}, "neither a deployment id nor a generation"),
        ({"generation": "g" * (MAX_TEXT + 1)}, "1025 characters"),
        ({"action": "vanished"}, "'vanished' is none of"),
        ({"at": 7200}, "7,200 s in the future"),
        ({"at": -T0 / SECOND}, "says no time"),
        ({"desired_hosts": -1}, "-1 is no number of hosts"),
    ],
)
def test_an_event_that_cannot_be_is_refused_in_words(wrong: dict[str, object], words: str) -> None:
    """Each thing that cannot be right is said."""
    fields: dict[str, object] = {"at": 0} | wrong
    assert words in "; ".join(event(**fields).problems(T0))  # type: ignore[arg-type]


def test_events_travel_as_otlp_log_records() -> None:
    """An event comes out of OTLP as it went in, odd labels included, with OpenTelemetry's names on it."""
    for action in ("started", "finished", "failed", "rollback", "withdrawn"):
        told = event(
            0, action, ODD, from_release="r0", actor="ann", url="https://ci/1", image="sha256:1", desired_hosts=3
        )
        (record,) = decode.records(Signal.LOGS, to_otlp(told))
        assert record.event_name == f"shipper.deploy.{action}"
        assert (record.scope, record.resource["shipper.generation"]) == ("shipper.deploy", ODD)
        assert list(from_otlp(to_otlp(told), T0)) == [told]
    assert record.attributes["deployment.id"] == ODD
    assert "api r1 was withdrawn, in prod" in str(record.body)


def test_an_event_that_cannot_be_taken_is_told_and_others_are_taken() -> None:
    """One bad event in a payload does not cost the good ones."""
    bad, good = event(0, service=""), event(1)
    refused, taken = from_otlp(to_otlp(bad) + to_otlp(good), T0)
    assert "names no service" in str(refused)
    assert taken == good
