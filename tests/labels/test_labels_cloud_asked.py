"""What metadata services say becomes labels and attributes; whatever they do instead of it becomes one sentence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from aiohttp import web

from shipper.labels.detect import detect
from shipper.labels.identity import Identity
from shipper.labels.platform import AZURE_CHASSIS, DMI, Network
from shipper.testing.platforms import loopback, serving
from shipper.testing.platforms.azure import FakeAzure
from shipper.testing.platforms.ecs import FakeEcs
from shipper.testing.platforms.gce import FakeGce
from shipper.testing.platforms.imds import IDENTITY_DOCUMENT, META, TOKEN_PATH, FakeImds

LAUNCHED = {"aws:ec2launchtemplate:id": "lt-0abc", "aws:ec2launchtemplate:version": "7", "Name": "web"}
INSTANCE = "i-1234567890abcdef0"
NITRO = {"sys_vendor": "Amazon EC2", "board_asset_tag": INSTANCE}
SHORT = 0.8  # seconds for a service that never answers
LONG = 30.0  # for one that does, on a busy machine too


class Tree(serving.FakeService):
    """A service that has these items, and nothing else."""

    def __init__(self, items: Mapping[str, str], *, token: str = "") -> None:
        super().__init__()
        self.items = items
        self.token = token

    async def answer(self, asked: serving.Asked) -> web.Response:
        if asked.path == TOKEN_PATH and asked.method == "PUT":
            known = asked.headers.get("X-aliyun-ecs-metadata-token-ttl-seconds")
            return web.Response(text=self.token, status=200 if known and self.token else 404)
        if self.token and asked.headers.get("X-aliyun-ecs-metadata-token") != self.token:
            return web.Response(status=403)
        text = self.items.get(asked.path)
        return web.Response(status=404, text="<html>") if text is None else web.Response(text=text)


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., asyncio.Future[Identity]]:
    """Detects on a machine with such DMI and files, in a thread, as the sidecar does."""

    def run(
        *,
        dmi: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        endpoints: Mapping[str, str] | None = None,
        seconds: float = LONG,
    ) -> asyncio.Future[Identity]:
        trees = {**{DMI + name: text for name, text in (dmi or {}).items()}, **(files or {})}
        for name, text in trees.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        network = Network(endpoints or {}, seconds)
        return asyncio.ensure_future(asyncio.to_thread(detect, None, env or {}, str(tmp_path), network=network))

    return run


def aws(imds: FakeImds) -> dict[str, str]:
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.url}


# -- Amazon EC2 ------------------------------------------------------------------------------------------------------


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


# -- Amazon ECS ------------------------------------------------------------------------------------------------------


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


# -- Google ----------------------------------------------------------------------------------------------------------


def test_a_gce_instance_knows_its_template_and_group(ask) -> None:
    """Zone, region, type, image, managed instance group; the instance template is the generation."""

    async def run() -> None:
        async with FakeGce() as gce:
            identity = await ask(
                dmi={"product_name": "Google Compute Engine"}, env={"GCE_METADATA_HOST": gce.metadata_host}
            )
        assert identity.problems == ()
        assert (identity.generation.value, identity.generation.origin) == ("web-v42", "instance template")
        assert (identity.host.value, identity.image.value) == ("web-x7k2", "web-20261101")
        wanted = {
            "cloud.provider": "gcp",
            "cloud.platform": "gcp_compute_engine",
            "cloud.region": "europe-west1",
            "cloud.availability_zone": "europe-west1-b",
            "cloud.account.id": "example-project",
            "host.id": "4520031799277581759",
            "host.name": "web-x7k2",
            "host.type": "e2-standard-4",
            "host.image.id": "projects/example-images/global/images/web-20261101",
            "gcp.gce.instance_group_manager.name": "web",
            "gcp.gce.instance_group_manager.zone": "europe-west1-b",
        }
        assert wanted.items() <= identity.attributes().items()
        assert all("recursive" not in asked.query for asked in gce.asked)

    asyncio.run(run())


def test_custom_metadata_of_ours_states_labels(ask) -> None:
    """An own attribute is stated by somebody, so it beats the template."""

    async def run() -> None:
        async with FakeGce() as gce:
            gce.attribute("shipper-generation", "d-9")
            identity = await ask(endpoints={"gce": gce.url})
        assert (identity.generation.value, identity.generation.origin) == (
            "d-9",
            "metadata attribute shipper-generation",
        )

    asyncio.run(run())


def test_a_regional_group_a_node_of_gke_and_a_machine_made_by_hand(ask) -> None:
    """What is not there is not made up; in a pod the platform is GKE and the node's template is not ours."""

    async def run() -> None:
        async with FakeGce() as gce:
            gce.attribute("created-by", "projects/1/regions/europe-west1/instanceGroupManagers/web")
            gce.attribute("cluster-name", "blue")
            env = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "GCE_METADATA_HOST": gce.metadata_host}
            pod = await ask(env=env)
            assert pod.attributes()["cloud.platform"] == "gcp_kubernetes_engine"
            assert pod.attributes()["k8s.cluster.name"] == "blue"
            assert pod.attributes()["gcp.gce.instance_group_manager.region"] == "europe-west1"
            assert pod.generation.value == ""
            gce.attribute("created-by", None)
            gce.attribute("instance-template", None)
            gce.remove("instance/machine-type")
            alone = await ask(env={"GCE_METADATA_HOST": gce.metadata_host})
            assert alone.problems == ()
            assert "host.type" not in alone.attributes()
            assert alone.generation.origin == "host.image.id"

    asyncio.run(run())


def test_who_does_not_prove_to_be_google_is_not_believed(ask) -> None:
    """An answer without Metadata-Flavor comes from somebody else at that address."""

    async def run() -> None:
        async with FakeGce() as gce:
            gce.flavor = False
            identity = await ask(env={"GCE_METADATA_HOST": gce.metadata_host})
        assert "answered without Metadata-Flavor: Google" in identity.problems[0]
        assert "host.id" not in identity.attributes()

    asyncio.run(run())


def test_a_cloud_run_revision_asks_for_its_instance_and_region(ask) -> None:
    """The revision is the generation; the metadata server adds what the environment does not have."""

    async def run() -> None:
        async with FakeGce() as gce:
            gce.put("instance/region", "projects/123456789012/regions/us-central1")
            env = {"K_SERVICE": "shop", "K_REVISION": "shop-00007-abc", "GCE_METADATA_HOST": gce.metadata_host}
            identity = await ask(env=env)
        assert (identity.service.value, identity.generation.value) == ("shop", "shop-00007-abc")
        assert identity.considered[0].platform == "cloud_run"
        attributes = identity.attributes()
        assert (attributes["cloud.platform"], attributes["cloud.region"]) == ("gcp_cloud_run", "us-central1")
        assert attributes["faas.instance"] == identity.host.value == "4520031799277581759"

    asyncio.run(run())


# -- Azure -----------------------------------------------------------------------------------------------------------


def test_an_azure_machine_knows_its_image_and_scale_set(ask) -> None:
    """Ids, zone, size and the gallery's image with its exact version; the header is sent, or the answer would be 400."""

    async def run() -> None:
        async with FakeAzure() as azure:
            identity = await ask(dmi={"chassis_asset_tag": AZURE_CHASSIS}, endpoints={"azure": azure.url})
            compute = azure.compute
        assert identity.problems == ()
        assert (identity.host.value, identity.image.value) == ("web_3", "web:1.0.20261101")
        wanted = {
            "cloud.provider": "azure",
            "cloud.platform": "azure.vm",
            "cloud.region": "westeurope",
            "cloud.availability_zone": "2",
            "cloud.account.id": compute["subscriptionId"],
            "cloud.resource_id": compute["resourceId"],
            "azure.resource_group.name": "web",
            "host.id": compute["vmId"],
            "host.name": "web_3",
            "host.type": "Standard_D4s_v5",
            "host.image.version": "1.0.20261101",
        }
        assert wanted.items() <= identity.attributes().items()

    asyncio.run(run())


def test_tags_and_images_of_azure(ask) -> None:
    """A tag states the generation; a marketplace image is named by its parts; a service without a newer version will do."""

    async def run() -> None:
        async with FakeAzure() as azure:
            azure.compute["tagsList"] = [{"name": "shipper:generation", "value": "d-17"}, "junk", {"name": 5}]
            azure.compute["storageProfile"] = {
                "imageReference": {"id": "", "publisher": "Debian", "offer": "debian-12", "sku": "12", "version": "0.2"}
            }
            azure.script(
                serving.raw(json.dumps(azure.compute).encode()), serving.status(400, b'{"error": "Bad request"}')
            )
            identity = await ask(endpoints={"azure": azure.url})
        assert identity.problems == ()
        assert identity.image.value == identity.attributes()["host.image.id"] == "Debian:debian-12:12:0.2"
        assert (identity.generation.value, identity.generation.origin) == ("d-17", "tag shipper:generation")

    asyncio.run(run())


# -- the others ------------------------------------------------------------------------------------------------------


def test_an_openstack_instance(ask) -> None:
    """Instance, zone, project and flavor; ``meta`` states labels. DMI alone leads there."""
    data = {"uuid": "83679162", "name": "web-1", "availability_zone": "nova", "project_id": "p1"}
    items = {
        "/openstack/latest/meta_data.json": json.dumps({**data, "meta": {"shipper_generation": "d-3", "n": [1]}}),
        "/latest/meta-data/instance-type": "m1.small",
    }

    async def run() -> None:
        async with Tree(items) as tree:
            identity = await ask(dmi={"product_name": "OpenStack Nova"}, endpoints={"openstack": tree.url})
        assert identity.problems == ()
        assert (identity.host.value, identity.generation.value) == ("web-1", "d-3")
        attributes = identity.attributes()
        assert (attributes["host.id"], attributes["host.type"], attributes["cloud.availability_zone"]) == (
            "83679162",
            "m1.small",
            "nova",
        )

    asyncio.run(run())


def test_a_droplet_and_its_tags(ask) -> None:
    """A tag there is one word; with colons it states a label."""
    tree = {"id": "2756294", "hostname": "web-1", "region": "nyc3", "tags/": "web\nshipper:generation:42\n"}

    async def run() -> None:
        async with Tree({f"/metadata/v1/{name}": text for name, text in tree.items()}) as service:
            identity = await ask(dmi={"sys_vendor": "DigitalOcean"}, endpoints={"digitalocean": service.url})
        assert identity.problems == ()
        assert (identity.host.value, identity.generation.value) == ("web-1", "42")
        assert (identity.attributes()["host.id"], identity.attributes()["cloud.region"]) == ("2756294", "nyc3")

    asyncio.run(run())


def test_a_server_at_hetzner(ask) -> None:
    """Server and place, item by item."""
    tree = {"instance-id": "42", "hostname": "web-1", "region": "eu-central", "availability-zone": "fsn1-dc14"}

    async def run() -> None:
        async with Tree({f"/hetzner/v1/metadata/{name}": text for name, text in tree.items()}) as service:
            identity = await ask(dmi={"sys_vendor": "Hetzner"}, endpoints={"hetzner": service.url})
        assert identity.problems == ()
        attributes = identity.attributes()
        assert (attributes["host.id"], attributes["cloud.platform"], attributes["cloud.availability_zone"]) == (
            "42",
            "hetzner.cloud_server",
            "fsn1-dc14",
        )

    asyncio.run(run())


@pytest.mark.parametrize("token", ["", "t0k3n"])
def test_an_instance_at_alibaba(ask, token: str) -> None:
    """With a token where the service gives one, without where it knows none."""
    tree = {"instance-id": "i-bp1", "image-id": "m-bp2", "instance/instance-type": "ecs.g7", "zone-id": "cn-a"}

    async def run() -> None:
        items = {f"/latest/meta-data/{name}": text for name, text in tree.items()}
        async with Tree(items, token=token) as service:
            identity = await ask(dmi={"product_name": "Alibaba Cloud ECS"}, endpoints={"alibaba": service.url})
        assert identity.problems == ()
        assert (identity.host.value, identity.image.value) == ("i-bp1", "m-bp2")
        assert identity.attributes()["host.type"] == "ecs.g7"

    asyncio.run(run())


@pytest.mark.parametrize("name", ["gce", "azure", "openstack", "digitalocean", "hetzner", "alibaba", "aws"])
def test_hardware_that_lies_is_a_sentence(ask, name: str) -> None:
    """A private cloud with another one's DMI strings: its address answers, but with nothing of what is asked."""

    async def run() -> None:
        async with Tree({}) as service:
            identity = await ask(endpoints={name: service.url})
        (problem,) = identity.problems
        assert service.url in problem
        assert "host.id" not in identity.attributes()

    asyncio.run(run())


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1", "http://:99999", "http://127.0.0.1:x", "//", "file:///etc/passwd"]
)
def test_an_endpoint_that_is_none_is_said(ask, url: str) -> None:
    """Only a plain HTTP address can be asked; anything else is a sentence at once."""

    async def run() -> None:
        identity = await ask(endpoints={"aws": url})
        assert "is not the http:// address of a metadata service" in identity.problems[0]

    asyncio.run(run())
