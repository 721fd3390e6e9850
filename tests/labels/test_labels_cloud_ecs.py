"""What the metadata of an ECS task says becomes labels and attributes, and an agent that makes no sense one sentence."""

from __future__ import annotations

import asyncio
import json

import pytest

from shipper.labels.identity import Identity
from shipper.testing.platforms import loopback
from shipper.testing.platforms.ecs import FakeEcs
from tests.labels.cloud_kit import LONG, SHORT


def test_an_ecs_task_knows_its_definition_and_the_digest_of_its_image(ask) -> None:
    """Family and revision are the generation; the agent tells the digest that no container can see itself."""

    async def run() -> None:
        async with FakeEcs() as ecs:
            identity = await ask(env=ecs.env(), dmi={"sys_vendor": "Amazon EC2"})
        assert identity.problems == ()
        assert (identity.service.value, identity.generation.value) == ("checkout", "checkout:26")
        assert identity.host.value == "158d1c8083dd49d6b527399fd6414f5c"
        digest = identity.image.value.partition("@")[2]
        wanted = {
            "cloud.platform": "aws_ecs",
            "cloud.region": "us-west-2",
            "cloud.availability_zone": "us-west-2d",
            "cloud.account.id": "123456789012",
            "aws.ecs.cluster.arn": "arn:aws:ecs:us-west-2:123456789012:cluster/default",
            "aws.ecs.task.family": "checkout",
            "aws.ecs.task.revision": "26",
            "aws.ecs.task.id": "158d1c8083dd49d6b527399fd6414f5c",
            "aws.ecs.launchtype": "fargate",
            "oci.manifest.digest": digest,
            "container.image.name": "123456789012.dkr.ecr.us-west-2.amazonaws.com/checkout",
            "container.image.tags": ["1.2.3"],
        }
        assert wanted.items() <= identity.attributes().items()
        assert [(one.platform, one.asked) for one in identity.considered] == [("ecs", True), ("ec2", False)]

    asyncio.run(run())


def _container(name: str, image: str, digest: str, **labels: str) -> dict[str, object]:
    image_id = f"sha256:{digest * 64}"
    return {"DockerId": f"id-{name}", "Name": name, "Image": image, "ImageID": image_id, "Labels": labels}


def test_the_image_of_a_task_is_that_of_the_container_beside_ours(ask) -> None:
    """Not the sidecar's, not what the platform adds; and not a guess where several are served."""
    app = _container("app", "shop:1", "a", **{"org.opencontainers.image.version": "1.4", "shipper.environment": "prod"})
    mesh = _container("ecs-service-connect-x", "envoy:1", "e")
    worker = _container("worker", "jobs:1", "b")

    async def run() -> None:
        async with FakeEcs(service="") as ecs:
            ecs.task["Containers"] = []

            async def among(*containers: dict[str, object]) -> Identity:
                body = json.dumps({**ecs.task, "Containers": [ecs.container, *containers]})
                ecs.trap_always(ecs.task_path, loopback.text(body))
                return await ask(env=ecs.env())

            identity = await among(app, mesh)
            assert identity.image.value == f"shop:1@sha256:{'a' * 64}"
            assert (identity.release.value, identity.environment.value) == ("1.4", "prod")
            assert identity.service.value == "checkout"
            several = await among(app, worker)
            assert several.image.value == ""
            assert any(place.note.startswith("2 containers with images") for place in several.image.tried)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("trap", "why"),
    [
        (loopback.text("{}"), "says nothing of a task"),
        (loopback.text('{"TaskARN": ["x"], "Containers": 5}'), "says nothing of a task"),
        (loopback.page(500), "answered 500"),
        (loopback.hang(), "gave no answer"),
    ],
)
def test_an_agent_that_makes_no_sense_leaves_what_the_environment_says(ask, trap: loopback.Trap, why: str) -> None:
    """Provider, platform and launch type are known without it."""

    async def run() -> None:
        async with FakeEcs() as ecs:
            ecs.trap_always(ecs.task_path, trap)
            waits = trap.fault or trap == loopback.page(500)
            identity = await ask(env=ecs.env(), seconds=SHORT if waits else LONG)
        (problem,) = identity.problems
        assert why in problem
        assert identity.attributes()["aws.ecs.launchtype"] == "fargate"
        assert identity.generation.value == ""

    asyncio.run(run())
