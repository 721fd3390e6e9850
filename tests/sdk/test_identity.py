"""`shipper.identity` and what records say of their process: stated, known by the sidecar, found; fresh in every child."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import pytest
from opentelemetry.sdk.resources import Resource

from shipper.handoff.card import Card, write_card
from shipper.labels.process import NAMESPACE, Process, this_process
from shipper.sdk.identity import Identities, merge
from shipper.sdk.resource import ResourceOf, encode
from shipper.sdk.settings import Settings, Stated
from shipper.sdk.sidecar_card import CardReader
from shipper.sdk.ways.providers import update
from shipper.sdk.who import INSTANCE, Self, Who, ask, explicit_instance
from tests.sdk.initkit import attributes, only, service, spool, written


class Given:
    """A provider's resource."""

    def __init__(self, **attributes: object) -> None:
        self.attributes = {key.replace("__", "."): value for key, value in attributes.items()}


def tree(directory: Path, **files: str) -> str:
    """A root file system with the files named ``etc__hostname`` and so on."""
    for name, content in files.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(directory)


def who(directory: Path, stated: Stated | None = None, **env: str) -> Who:
    """Who a process on a host with a baked release file would be."""
    baked = json.dumps({"version": 1, "service": "baked", "release": "0.9", "image": "web-7"})
    root = tree(directory, etc__hostname="host-1", etc__shipper__release_json=baked)
    Path(directory, "etc/shipper/release_json").rename(Path(directory, "etc/shipper/release.json"))
    return ask(Settings(stated=stated or Stated()), env, os.getpid(), root)


def test_instance_id_is_computed_from_inherent_facts() -> None:
    """The id is a UUIDv5 in the namespace of the conventions; any other process, boot or namespace has another."""
    process = Process(17, "boot", "", 4026531836, 1000, False)
    assert process.instance == str(uuid.uuid5(NAMESPACE, "boot\0\0004026531836\00017\0001000"))
    others = {
        Process(18, "boot", "", 4026531836, 1000, False).instance,
        Process(17, "boot2", "", 4026531836, 1000, False).instance,
        Process(17, "boot", "c", 4026531836, 1000, False).instance,
        Process(17, "boot", "", 1, 1000, False).instance,
        Process(17, "boot", "", 4026531836, 1001, False).instance,
        process.instance,
    }
    assert len(others) == 6
    assert this_process().instance == this_process().instance


def test_a_forked_child_is_another_instance(tmp_path: Path) -> None:
    """Parent and children state different instance ids in their records, also where OpenTelemetry made one up."""
    root = spool(tmp_path)
    service(
        """
        import os, shipper
        from opentelemetry import trace
        shipper.init(service="checkout", instrument=False)
        with trace.get_tracer("t").start_as_current_span("parent"):
            pass
        for _ in range(2):
            if (pid := os.fork()) == 0:
                with trace.get_tracer("t").start_as_current_span("child"):
                    pass
                assert shipper.identity().attributes["process.pid"] == os.getpid()
                ours = trace.get_tracer_provider().resource.attributes["service.instance.id"]
                assert ours == shipper.identity().instance
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        """,
        SHIPPER_SPOOL_DIR=str(root),
    )
    processes = written(root)
    assert sorted(process.names[0] for process in processes) == ["child", "child", "parent"]
    assert len({process.stated[INSTANCE] for process in processes}) == 3
    for process in processes:
        assert process.stated[INSTANCE] == process.hello.instance
        assert process.stated["process.pid"] == process.hello.pid


@pytest.mark.parametrize("how", ["environment", "code"])
def test_an_instance_id_somebody_gave_is_for_that_process_only(tmp_path: Path, how: str) -> None:
    """The process that was started with an id keeps it; forked and spawned workers of it get their own."""
    root = spool(tmp_path)
    script = tmp_path / "service.py"
    script.write_text(
        "import multiprocessing, os, sys, shipper\n"
        "from opentelemetry import trace\n"
        "given = {'service.instance.id': 'mine'} if sys.argv[1] == 'code' else None\n"
        "def emit(name):\n"
        "    with trace.get_tracer('t').start_as_current_span(name):\n"
        "        pass\n"
        "def spawned():\n"
        "    shipper.init(instrument=False)\n"
        "    emit('spawned')\n"
        "if __name__ == '__main__':\n"
        "    shipper.init(attributes=given, instrument=False)\n"
        "    emit('parent')\n"
        "    for method, target, args in (('fork', emit, ('forked',)), ('spawn', spawned, ())):\n"
        "        process = multiprocessing.get_context(method).Process(target=target, args=args)\n"
        "        process.start(); process.join(); assert process.exitcode == 0\n"
    )
    env = {"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=mine"} if how == "environment" else {}
    service(
        f"import sys, runpy; sys.argv = [{str(script)!r}, {how!r}]; sys.path.insert(0, {str(tmp_path)!r}); "
        f"runpy.run_path({str(script)!r}, run_name='__main__')",
        SHIPPER_SPOOL_DIR=str(root),
        **env,
    )
    ids = {process.names[0]: process.stated[INSTANCE] for process in written(root)}
    assert ids["parent"] == "mine"
    assert len(set(ids.values())) == 3


def test_explicit_instance_ids_are_not_inherited() -> None:
    """One from the environment is not for a worker that was forked; one from code is not for another pid."""
    own, forked = Process(17, "", "", 0, 0, False), Process(18, "", "", 0, 0, True)
    env = {"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=mine"}
    assert explicit_instance(Stated(), env, own, 0) == "mine"
    assert explicit_instance(Stated(), env, forked, 0) == ""
    stated = Stated(attributes={INSTANCE: "code"})
    assert explicit_instance(stated, {}, own, 17) == "code"
    assert explicit_instance(stated, {}, forked, 17) == ""


def test_what_was_stated_and_what_was_found_are_kept_apart(tmp_path: Path) -> None:
    """Arguments, SHIPPER_ variables and OTEL_RESOURCE_ATTRIBUTES are stated; baked files and the machine are guesses."""
    stated = Stated(service="checkout", attributes={"team": "shop"})
    found = who(
        tmp_path, stated, SHIPPER_ENVIRONMENT="staging", OTEL_RESOURCE_ATTRIBUTES="shipper.generation=g7,rack=r1"
    )
    for key, value in {
        "service.name": "checkout",
        "team": "shop",
        "deployment.environment.name": "staging",
        "shipper.generation": "g7",
        "rack": "r1",
        "telemetry.distro.name": "shipper",
        "process.pid": os.getpid(),
    }.items():
        assert found.stated[key] == value
    assert found.guessed["service.version"] == "0.9"
    assert found.guessed["host.name"] == "host-1"
    assert found.guessed["host.image.id"] == "web-7"
    assert not found.stated.keys() & found.guessed.keys()


def test_code_beats_variables_and_ours_beat_opentelemetrys(tmp_path: Path) -> None:
    """The service's name: argument, SHIPPER_SERVICE, OTEL_SERVICE_NAME, in that order."""
    env = {"OTEL_SERVICE_NAME": "otel", "SHIPPER_SERVICE": "ours"}
    assert who(tmp_path / "a", Stated(service="code"), **env).stated["service.name"] == "code"
    assert who(tmp_path / "b", **env).stated["service.name"] == "ours"
    assert who(tmp_path / "c", OTEL_SERVICE_NAME="otel").stated["service.name"] == "otel"


def test_identity_takes_the_sidecars_word_before_its_own_guess(tmp_path: Path) -> None:
    """Own statements, then the card of the sidecar, then own detection; each label says where it is from."""
    found = who(tmp_path, Stated(release="1.0"))
    card = Card(
        life="life-1",
        labels={"service": "known", "release": "9.9", "generation": "g8", "host": "i-1"},
        attributes={
            "service.name": "known",
            "service.version": "9.9",
            "shipper.generation": "g8",
            "cloud.region": "eu",
        },
    )
    identity = merge(found, card)
    assert (identity.service, identity.release, identity.generation) == ("known", "1.0", "g8")
    assert (identity.host, identity.image, identity.life) == ("i-1", "web-7", "life-1")
    assert identity.origins["service"] == identity.origins["generation"] == "the sidecar"
    assert identity.origins["image"] == "/etc/shipper/release.json"
    assert identity.attributes["service.version"] == "1.0"
    assert identity.attributes["cloud.region"] == "eu"
    assert identity.attributes["shipper.life.id"] == "life-1"
    assert identity.instance == found.process.instance
    assert merge(found, None).service == "baked"


def test_identity_is_one_object_until_the_card_changes(tmp_path: Path) -> None:
    """It is made once; a new card is noticed, a card of another user's making is not believed."""
    root = spool(tmp_path)
    identities = Identities(Self(Settings()), CardReader(str(root)))
    first = identities()
    assert identities() is first
    write_card(str(root), Card(life="life-1"))
    second = identities()
    assert second.life == "life-1"
    assert identities() is second
    (root / "host.json").unlink()
    (root / "host.json").symlink_to("/etc/hostname")
    assert identities().life == ""


def test_a_providers_own_attributes_are_stated(tmp_path: Path) -> None:
    """What the owner of a provider put into its resource stays; what is there only as our guess or default stays a guess."""
    found = who(tmp_path)
    split = ResourceOf(lambda: found).split
    stated, guessed = split(Given(service__name="own", team="shop", host__name="host-1"))
    assert (stated["service.name"], stated["team"]) == ("own", "shop")
    assert guessed["host.name"] == "host-1"
    assert "service.name" not in guessed
    stated, guessed = split(Given(service__name="unknown_service:python"))
    assert (stated.get("service.name"), guessed["service.name"]) == (None, "baked")


def test_a_random_or_inherited_instance_id_of_a_provider_is_not_believed(tmp_path: Path) -> None:
    """OpenTelemetry's made-up id and one that a parent's provider had are replaced; one made for this process is kept."""
    from opentelemetry.sdk.resources import Resource

    found = who(tmp_path)
    resource_of = ResourceOf(lambda: found)
    assert resource_of.split(Resource.create({}))[0][INSTANCE] == found.process.instance
    assert resource_of.split(Given(service__instance__id="worker-3"))[0][INSTANCE] == "worker-3"
    resource_of._seen["worker-1"] = os.getpid() - 1
    assert resource_of.split(Given(service__instance__id="worker-1"))[0][INSTANCE] == found.process.instance


def test_resources_hold_what_can_be_encoded() -> None:
    """Values of any kind OpenTelemetry allows are encoded; what is none is left out."""
    assert attributes(encode({"a": "x", "b": [1, 2], "c": True, "d": 1.5, "e": object()})) == {
        "a": "x",
        "b": [1, 2],
        "c": True,
        "d": 1.5,
    }


def test_without_init_identity_answers_all_the_same() -> None:
    """A script may ask who it is without handing anything over, and without importing OpenTelemetry's SDK."""
    answer = service(
        "import sys, shipper; print(shipper.identity().service, 'opentelemetry.sdk.trace' in sys.modules)",
        SHIPPER_SERVICE="cron",
    )
    assert answer.stdout.split() == ["cron", "False"]


def test_frames_carry_both_parts(tmp_path: Path) -> None:
    """A RESOURCE frame declares stated and guessed attributes apart, and the segment's head names the process."""
    root = spool(tmp_path)
    service(
        "import shipper; shipper.init('checkout', instrument=False); shipper.event('up')", SHIPPER_SPOOL_DIR=str(root)
    )
    process = only(root)
    assert process.stated["service.name"] == "checkout"
    assert process.stated["telemetry.sdk.language"] == "python"
    assert process.guessed["os.type"] == "linux"
    assert (process.hello.service, process.hello.sdk, process.hello.pid_ns > 0) == ("checkout", "0.1.0", True)


def test_a_card_left_from_the_hosts_last_life_is_not_stated(tmp_path: Path) -> None:
    """A service may start before the sidecar has written its card anew: what an old card says never goes into frames."""
    root = spool(tmp_path)
    attributes = {"shipper.generation": "old", "service.name": "old", "cloud.region": "old"}
    write_card(str(root), Card(life="old", labels={"generation": "old", "service": "old"}, attributes=attributes))
    service("import shipper; shipper.init(instrument=False); shipper.event('up')", SHIPPER_SPOOL_DIR=str(root))
    process = only(root)
    assert "old" not in {*process.stated.values(), *map(str, process.guessed.values()), process.hello.service}


def test_an_older_sdk_gets_the_same_identity() -> None:
    """Where a provider cannot take more attributes by itself, the resource that it and its tracers share gets them."""
    shared = Resource({"service.name": "own", "team": "a"})

    class Older:
        resource = shared

    assert update(Older(), {"team": "b", "service.version": "1.2"})
    assert dict(shared.attributes) == {"service.name": "own", "team": "b", "service.version": "1.2"}
    assert not update(object(), {"team": "b"})
