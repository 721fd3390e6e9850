"""What EC2's metadata service says becomes labels and attributes; whatever it does instead of it becomes one sentence."""

from __future__ import annotations

import asyncio

import pytest

from shipper.testing.platforms import loopback
from shipper.testing.platforms.imds import IDENTITY_DOCUMENT, META, TOKEN_PATH, FakeImds
from tests.labels.cloud_kit import LONG, SHORT

LAUNCHED = {"aws:ec2launchtemplate:id": "lt-0abc", "aws:ec2launchtemplate:version": "7", "Name": "web"}
INSTANCE = "i-1234567890abcdef0"
NITRO = {"sys_vendor": "Amazon EC2", "board_asset_tag": INSTANCE}


def aws(imds: FakeImds) -> dict[str, str]:
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.url}


def test_an_ec2_instance_knows_its_image_place_and_launch_template(ask) -> None:
    """All from IMDSv2 with one token: identity document, and the tags that EC2 sets on what a template launches."""

    async def run() -> None:
        async with FakeImds(tags=LAUNCHED) as imds:
            identity = await ask(dmi=NITRO, env=aws(imds))
        assert identity.problems == ()
        assert (identity.image.value, identity.image.origin) == ("ami-0a887e401f7654935", "instance identity document")
        assert (identity.generation.value, identity.generation.origin) == ("lt-0abc:7", "launch template and version")
        assert identity.host.value == INSTANCE
        wanted = {
            "cloud.provider": "aws",
            "cloud.platform": "aws_ec2",
            "cloud.region": "us-east-1",
            "cloud.availability_zone": "us-east-1a",
            "cloud.account.id": "123456789012",
            "host.id": INSTANCE,
            "host.type": "m4.xlarge",
            "host.arch": "amd64",
            "host.image.id": "ami-0a887e401f7654935",
        }
        assert wanted.items() <= identity.attributes().items()
        assert imds.count(TOKEN_PATH, "PUT") == 1
        (considered,) = identity.considered
        assert (considered.platform, considered.evidence, considered.asked) == (
            "ec2",
            "dmi sys_vendor Amazon EC2",
            True,
        )

    asyncio.run(run())


def test_tags_that_are_off_are_said_and_the_rest_is_known(ask) -> None:
    """Off is the default; then the release tells generations apart, and whoami says what to turn on."""

    async def run() -> None:
        async with FakeImds() as imds:
            identity = await ask(env={**aws(imds), "SHIPPER_RELEASE": "1.4"})
        assert (identity.generation.value, identity.generation.origin) == ("1.4", "release")
        notes = [place.note for place in identity.generation.tried if place.place == "instance tags"]
        assert notes == ["not shown: InstanceMetadataTags is off"]
        assert identity.problems == ()

    asyncio.run(run())


def test_a_tag_of_ours_beats_the_launch_template(ask) -> None:
    """What somebody stated about the deploy is believed before what the platform derives."""

    async def run() -> None:
        async with FakeImds(tags={**LAUNCHED, "shipper:generation": "d-17", "shipper:environment": "prod"}) as imds:
            identity = await ask(env=aws(imds))
        assert (identity.generation.value, identity.generation.origin) == (
            "d-17",
            "instance tag shipper:generation",
        )
        assert identity.environment.value == "prod"

    asyncio.run(run())


def test_a_token_that_has_expired_is_renewed_once(ask) -> None:
    """One 401 costs one more token; a service that never accepts one is a sentence, not a loop."""

    async def run() -> None:
        async with FakeImds(tags=LAUNCHED) as imds:
            imds.reject_tokens(1)
            assert (await ask(env=aws(imds))).generation.value == "lt-0abc:7"
            assert imds.count(TOKEN_PATH, "PUT") == 2
            imds.reject_tokens(1000)
            identity = await ask(env=aws(imds))
            assert identity.problems == (
                f"ec2: {imds.url} answered 401; what only it knows stays unknown for this life",
            )
            assert imds.count(TOKEN_PATH, "PUT") == 4

    asyncio.run(run())


def test_a_container_behind_a_hop_limit_of_one_falls_back_and_says_what_to_do(ask) -> None:
    """The token never arrives. Where tokenless requests are allowed they do; where not, the hop limit is named."""

    async def run() -> None:
        async with FakeImds(tags=LAUNCHED, version_1=True) as imds:
            imds.hop_limit_exceeded()
            assert (await ask(env=aws(imds), seconds=2 * SHORT)).attributes()["host.type"] == "m4.xlarge"
        async with FakeImds() as imds:
            imds.hop_limit_exceeded()
            identity = await ask(files={"/.dockerenv": ""}, env=aws(imds), seconds=SHORT)
            (problem,) = identity.problems
            assert "gave no answer within 0." in problem
            assert "(the request for a token)" in problem
            assert "hop limit has to be 2" in problem
        async with FakeImds(version_1=True) as imds:
            imds.hop_limit_exceeded()
            identity = await ask(env={**aws(imds), "AWS_EC2_METADATA_V1_DISABLED": "true"}, seconds=SHORT)
            assert "host.type" not in identity.attributes()
            assert imds.count(IDENTITY_DOCUMENT) == 0

    asyncio.run(run())


def test_in_a_container_on_an_instance_the_instance_is_not_the_host(ask) -> None:
    """It is the machine below: its deploy and place are ours, its name and image are not."""

    async def run() -> None:
        files = {"/.dockerenv": "", "/proc/sys/kernel/hostname": "8f1d2c"}
        async with FakeImds(tags=LAUNCHED) as imds:
            identity = await ask(files=files, env=aws(imds))
        assert (identity.host.value, identity.image.value, identity.generation.value) == ("8f1d2c", "", "lt-0abc:7")
        attributes = identity.attributes()
        assert (attributes["host.id"], attributes["host.name"]) == (INSTANCE, "8f1d2c")
        assert "host.image.id" not in attributes
        assert f"{INSTANCE} is the machine's" in [place.note for place in identity.host.tried]

    asyncio.run(run())


def test_a_pod_on_an_instance_is_no_part_of_the_nodes_deploy(ask) -> None:
    """The generation is the pod's template; zone and instance type of the node are still worth knowing."""

    async def run() -> None:
        env = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "POD_NAME": "shop-5d59d67564-x2x9z"}
        async with FakeImds(tags=LAUNCHED) as imds:
            identity = await ask(env={**env, **aws(imds)})
        assert (identity.host.value, identity.generation.value) == ("shop-5d59d67564-x2x9z", "5d59d67564")
        assert identity.attributes()["cloud.availability_zone"] == "us-east-1a"
        assert [one.platform for one in identity.considered] == ["kubernetes", "ec2"]

    asyncio.run(run())


def test_metadata_that_contradicts_the_hardware_is_believed_and_said(ask) -> None:
    """DMI may be that of a hypervisor inside a hypervisor; the service speaks of this instance."""

    async def run() -> None:
        async with FakeImds(instance_id="i-0aaaaaaaaaaaaaaaa") as imds:
            identity = await ask(dmi=NITRO, env=aws(imds))
        assert identity.host.value == "i-0aaaaaaaaaaaaaaaa"
        assert identity.problems == (
            f"ec2: the metadata service says i-0aaaaaaaaaaaaaaaa, the hardware {INSTANCE}; the service is believed",
        )

    asyncio.run(run())


def test_an_instance_without_an_identity_document_is_read_item_by_item(ask) -> None:
    """Clouds that imitate EC2's service may lack it."""

    async def run() -> None:
        async with FakeImds() as imds:
            imds.set(IDENTITY_DOCUMENT, None)
            attributes = (await ask(env=aws(imds))).attributes()
        assert (attributes["host.id"], attributes["host.type"]) == (INSTANCE, "m4.xlarge")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("trap", "why"),
    [
        (loopback.web_page(), "answered a web page"),
        (loopback.text("{nonsense"), "answered something else than JSON"),
        (loopback.text("[1]"), "answered something else than a JSON object"),
        (loopback.text('{"a":' * 30_000), "answered more than 64 KiB"),
        (loopback.text("[" * 60_000), "answered something else than JSON"),
        (loopback.huge(), "answered more than 64 KiB"),
        (loopback.redirect("http://127.0.0.1:1/"), "answered 302"),
        (loopback.page(403, "Forbidden"), "answered 403"),
        (loopback.page(503), "answered 503"),
        (loopback.hang(), f"gave no answer within {SHORT} s"),
        (loopback.hang_up(), "cannot be reached"),
        (loopback.cut_off(), "cannot be reached"),
    ],
)
def test_what_is_no_identity_document_is_one_sentence(ask, trap: loopback.Trap, why: str) -> None:
    """HTML, garbage, endless, redirected, forbidden, broken or silent: what DMI says stays, the rest is unknown."""

    async def run() -> None:
        async with FakeImds(tags=LAUNCHED) as imds:
            imds.trap_always(IDENTITY_DOCUMENT, trap)
            waits = trap.fault or trap == loopback.page(503)
            identity = await ask(dmi=NITRO, env=aws(imds), seconds=SHORT if waits else LONG)
            (problem,) = identity.problems
            assert problem.startswith(f"ec2: {imds.url} {why}")
        assert (identity.host.value, identity.image.value) == (INSTANCE, "")
        assert any(why.partition(" within")[0] in place.note for place in identity.image.tried)

    asyncio.run(run())


def test_what_was_said_before_the_service_fell_silent_counts(ask) -> None:
    """A hang over the tags does not cost the image, nor does it wait for longer than it may."""

    async def run() -> None:
        async with FakeImds(tags=LAUNCHED) as imds:
            imds.trap_always(META + "tags/instance", loopback.hang())
            identity = await ask(env=aws(imds), seconds=SHORT)
            assert identity.image.value == "ami-0a887e401f7654935"
            (problem,) = identity.problems
            assert problem.startswith(f"ec2: {imds.url} gave no answer within {SHORT} s")

    asyncio.run(run())


def test_a_service_that_is_there_a_moment_later_is_found(ask) -> None:
    """At boot the sidecar may be faster than the network, and the service may throttle the crowd."""

    async def run() -> None:
        async with FakeImds(tags=LAUNCHED) as imds:
            await imds.go_down()
            asking = ask(env=aws(imds))
            await imds.come_up()
            imds.trap("*", loopback.page(503), loopback.page(429))
            assert (await asking).generation.value == "lt-0abc:7"

    asyncio.run(run())


def test_a_service_that_is_switched_off_is_not_asked(ask) -> None:
    """AWS's own variable forbids it, and whoami says so; a configured endpoint is meant more."""

    async def run() -> None:
        async with FakeImds() as imds:
            env = {**aws(imds), "AWS_EC2_METADATA_DISABLED": "true"}
            identity = await ask(dmi=NITRO, env=env)
            assert imds.asked == []
            assert identity.considered[0].note == "not asked: AWS_EC2_METADATA_DISABLED is set"
            assert identity.host.value == INSTANCE
            assert (await ask(env=env, endpoints={"aws": imds.url})).attributes()["host.type"] == "m4.xlarge"

    asyncio.run(run())
