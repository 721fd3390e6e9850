"""What the metadata services of Google, Azure and smaller clouds say becomes labels and attributes, and nonsense one sentence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest
from aiohttp import web

from shipper.labels.platform import AZURE_CHASSIS
from shipper.testing.platforms import serving
from shipper.testing.platforms.azure import FakeAzure
from shipper.testing.platforms.gce import FakeGce
from shipper.testing.platforms.imds import TOKEN_PATH


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
