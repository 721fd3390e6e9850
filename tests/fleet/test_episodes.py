"""Generations from births and ends alone: rolls, rollbacks, withdrawals, replacements."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.fleet.episodes import Episode, HostLife, episodes

Row = tuple[str, int, int]  # generation, born, ended (0: lives)


def hosts(*rows: Row, service: str = "api", release: str = "") -> list[HostLife]:
    return [
        HostLife(f"{service}-{number}", service, "prod", key, release or f"r-{key}", "img", born, ended)
        for number, (key, born, ended) in enumerate(rows, start=1)
    ]


def story(found: list[Episode]) -> list[tuple[str, int, int]]:
    return [(one.generation, one.number, one.started_ns) for one in found]


def test_a_roll_is_two_generations() -> None:
    """Hosts of a new generation replace those of the old one; the newer one replaced the older release."""
    found = episodes(hosts(("a", 1, 20), ("a", 2, 21), ("b", 10, 0), ("b", 11, 0)))
    assert story(found) == [("a", 1, 1), ("b", 1, 10)]
    assert (found[1].from_release, found[1].rollback) == ("r-a", False)


def test_kubectl_rollout_undo_is_a_third_generation() -> None:
    """The same pod-template-hash again, after the roll was over, is an episode of its own, a rollback."""
    found = episodes(hosts(("a", 1, 20), ("a", 2, 21), ("b", 10, 40), ("b", 11, 41), ("a", 30, 0), ("a", 31, 0)))
    assert story(found) == [("a", 1, 1), ("b", 1, 10), ("a", 2, 30)]
    assert [one.rollback for one in found] == [False, False, True]
    assert found[2].from_release == "r-b"


def test_an_old_image_launched_again_under_a_new_key_is_a_rollback() -> None:
    """Another launch template with a release seen before, and another between, is a third generation that rolls back."""
    old = hosts(("a", 1, 20), ("b", 10, 40))
    again = HostLife("z", "api", "prod", "c", "r-a", "img", 30)
    found = episodes([*old, again])
    assert story(found) == [("a", 1, 1), ("b", 1, 10), ("c", 1, 30)]
    assert found[2].rollback


def test_an_undo_in_the_middle_of_the_roll_is_seen_once_the_new_generation_is_gone() -> None:
    """With most of the old hosts gone and the roll undone, the old generation is a new episode from its first new host on."""
    rows: list[Row] = [("a", 1, 20), ("a", 2, 21), ("a", 3, 22), ("a", 4, 0)]
    rows += [("b", 10, 50), ("b", 11, 51), ("b", 12, 52), ("a", 40, 0), ("a", 41, 0), ("a", 42, 0)]
    found = episodes(hosts(*rows))
    assert story(found) == [("a", 1, 1), ("b", 1, 10), ("a", 2, 40)]
    still_there = [*rows[:4], ("b", 10, 0), ("b", 11, 51), ("b", 12, 52), *rows[7:]]
    assert story(episodes(hosts(*still_there))) == [("a", 1, 1), ("b", 1, 10)]


def test_a_canary_taken_back_is_withdrawn_and_the_old_generation_goes_on() -> None:
    """The newest is gone and the older never gave way: withdrawn, and no new episode, also where an old host was replaced."""
    for replaced in (0, 15):
        found = episodes(hosts(("a", 1, replaced), ("a", 2, 0), ("a", 3, 0), ("b", 10, 30), ("a", 16, 0)))
        assert story(found) == [("a", 1, 1), ("b", 1, 10)]
        assert found[1].withdrawn_ns == 30
        assert not found[0].withdrawn_ns


def test_a_withdrawn_generation_may_come_again() -> None:
    """A canary tried a second time is its second episode."""
    found = episodes(hosts(("a", 1, 0), ("a", 2, 0), ("b", 10, 30), ("b", 50, 0)))
    assert story(found) == [("a", 1, 1), ("b", 1, 10), ("b", 2, 50)]


def test_replacing_hosts_of_the_old_generation_during_a_roll_begins_nothing() -> None:
    """Births of both keys in turn, as a roll with failing hosts has them, are one roll."""
    rows: list[Row] = [("a", at, 0) for at in range(1, 6)]
    rows += [("b", 10, 0), ("a", 11, 0), ("b", 12, 0), ("a", 13, 14), ("b", 15, 0)]
    assert story(episodes(hosts(*rows))) == [("a", 1, 1), ("b", 1, 10)]


def test_a_fleet_scaled_to_nothing_and_back_is_the_same_generation() -> None:
    """All hosts gone and the same key born again, with no other between, is no new deploy."""
    assert story(episodes(hosts(("a", 1, 5), ("a", 50, 0)))) == [("a", 1, 1)]


def test_a_host_replaced_in_the_same_moment_leaves_no_gap() -> None:
    """A birth and an end at one moment: the generation never was gone."""
    found = episodes(hosts(("a", 1, 0), ("b", 10, 20), ("b", 20, 0)))
    assert not found[1].withdrawn_ns


def test_services_and_environments_are_apart() -> None:
    """What one service does is no matter of another's; hosts without a generation show nothing."""
    lives = hosts(("a", 1, 0)) + hosts(("b", 5, 0), service="web") + hosts(("", 3, 0), service="web")
    assert story(episodes(lives)) == [("a", 1, 1), ("b", 1, 5)]


def test_what_was_settled_stays_when_its_hosts_are_forgotten() -> None:
    """With the earlier lives forgotten, hosts replaced days later begin nothing, and a rollback is still one."""
    settled = episodes(hosts(("a", 1, 20), ("b", 10, 0)))
    later = hosts(("b", 1000, 0), ("b", 2000, 0))
    assert episodes(later, settled) == settled
    again = [*hosts(("b", 1000, 3001)), HostLife("z", "api", "prod", "a", "r-a", "img", 3000)]
    found = episodes(again, settled)
    assert story(found) == [("a", 1, 1), ("b", 1, 10), ("a", 2, 3000)]
    assert found[2].rollback


def test_an_older_host_that_turns_up_late_moves_the_start() -> None:
    """Statements arrive in any order: the start of a generation is that of the oldest host known."""
    settled = episodes(hosts(("a", 10, 0)))
    assert story(episodes(hosts(("a", 4, 0)), settled)) == [("a", 1, 4)]
    settled = episodes(hosts(("a", 1, 0), ("c", 30, 0)))
    assert story(episodes(hosts(("a", 1, 0), ("c", 30, 0), ("b", 20, 0)), settled)) == [
        ("a", 1, 1),
        ("b", 1, 20),
        ("c", 1, 30),
    ]


lives = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 40), st.integers(0, 30)).map(
        lambda row: (row[0], row[1], row[1] + row[2] if row[2] else 0)
    ),
    max_size=14,
)


@settings(max_examples=150, deadline=None)
@given(lives, st.randoms(use_true_random=False))
def test_any_order_of_lives_tells_the_same_story(rows: list[Row], chance) -> None:
    """Order does not matter; every generation has its episodes numbered from 1 in order of time, the first at its first birth."""
    told = hosts(*rows)
    found = episodes(told)
    chance.shuffle(told)
    assert episodes(told) == found
    for key in {row[0] for row in rows}:
        own = [one for one in found if one.generation == key]
        assert sorted(one.number for one in own) == list(range(1, len(own) + 1))
        assert own[0].started_ns == min(born for generation, born, _ in rows if generation == key)


@settings(max_examples=150, deadline=None)
@given(lives)
def test_going_on_from_what_was_settled_adds_nothing(rows: list[Row]) -> None:
    """Inferring again from the same lives and what was found before finds the same."""
    told = hosts(*rows)
    found = episodes(told)
    assert episodes(told, found) == found
