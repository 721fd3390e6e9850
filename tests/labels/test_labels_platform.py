"""Which platform a host seems to run on, what its environment says about it, and what is asked; all without the network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from shipper.labels.cloud.kubernetes import VARIABLES
from shipper.labels.detect import detect
from shipper.labels.finding import Surroundings
from shipper.labels.identity import Identity
from shipper.labels.platform import AZURE_CHASSIS, DMI, HYPERVISOR_UUID, PLATFORMS, instance_id, recognise, to_ask
from shipper.labels.witness import witness

INSTANCE = "i-0123456789abcdef0"
ECS = {"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/abc-1"}
KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
POD = "5d59d67564"


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[Mapping[str, str]], str]:
    """Makes files from path -> text; a name without a slash is one of DMI. Gives the root."""

    def build(files: Mapping[str, str]) -> str:
        for name, text in files.items():
            path = tmp_path / (name if "/" in name else DMI + name).lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return str(tmp_path)

    return build


@pytest.fixture
def found(tree) -> Callable[..., Identity]:
    """Detects without the network."""
    return lambda files=None, env=None: detect(None, env or {}, tree(files or {}))


@pytest.mark.parametrize(
    ("files", "env", "names"),
    [
        ({}, {}, []),
        ({"sys_vendor": "Amazon EC2", "product_name": "m5.large"}, {}, ["ec2"]),
        ({"sys_vendor": "Xen", "product_uuid": "EC2E1916-9099-7CAF-FD21-012345ABCDEF"}, {}, ["ec2"]),
        ({HYPERVISOR_UUID: "ec2e1916-9099-7caf-fd21-012345abcdef"}, {}, ["ec2"]),
        ({"sys_vendor": "QEMU", "product_uuid": "ec2e1916-9099-7caf-fd21-012345abcdef"}, {}, []),
        ({"product_name": "Google Compute Engine"}, {}, ["gce"]),
        ({"product_serial": "GoogleCloud-0123"}, {}, ["gce"]),
        ({"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": AZURE_CHASSIS}, {}, ["azure"]),
        ({"sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine"}, {}, []),  # Hyper-V at home
        ({"product_name": "OpenStack Nova"}, {}, ["openstack"]),
        ({"chassis_asset_tag": "OpenTelekomCloud"}, {}, ["openstack"]),
        ({"sys_vendor": "DigitalOcean", "product_name": "Droplet"}, {}, ["digitalocean"]),
        ({"sys_vendor": "Hetzner", "product_name": "vServer"}, {}, ["hetzner"]),
        ({"sys_vendor": "Alibaba Cloud", "product_name": "Alibaba Cloud ECS"}, {}, ["alibaba"]),
        ({}, KUBERNETES, ["kubernetes"]),
        ({"/etc/podinfo/labels": ""}, {}, ["kubernetes"]),
        ({"sys_vendor": "Amazon EC2"}, {**KUBERNETES, **ECS}, ["ecs", "kubernetes", "ec2"]),
        ({}, {"K_SERVICE": "shop"}, ["cloud_run"]),
        ({}, {"K_SERVICE": "shop", **KUBERNETES}, ["kubernetes"]),  # Knative
        ({}, {"CLOUD_RUN_JOB": "nightly"}, ["cloud_run"]),
        ({}, {"AWS_LAMBDA_FUNCTION_NAME": "f"}, ["lambda"]),
        ({}, {"FLY_MACHINE_ID": "1"}, ["fly"]),
        ({}, {"NOMAD_ALLOC_ID": "1"}, ["nomad"]),
        ({}, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://[::1]:1338"}, ["ec2"]),
        ({}, {"GCE_METADATA_HOST": "metadata:80"}, ["gce"]),
        ({}, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": " "}, []),
    ],
)
def test_hardware_and_environment_name_the_platform(tree, files: dict[str, str], env: dict[str, str], names) -> None:
    """By what its vendor documents, and by nothing else; what runs a workload comes before the machine below it."""
    seen = recognise(Surroundings(tree(files), env))
    assert [one.name for one in seen] == names
    assert all(one.evidence for one in seen)


@pytest.mark.parametrize(
    ("files", "env", "endpoints", "asked"),
    [
        ({}, {}, {}, ""),
        ({"sys_vendor": "Amazon EC2"}, {}, {}, "http://169.254.169.254"),
        ({"sys_vendor": "Amazon EC2"}, KUBERNETES, {}, "http://169.254.169.254"),
        ({"sys_vendor": "Amazon EC2"}, {"NOMAD_ALLOC_ID": "1"}, {}, "http://169.254.169.254"),
        ({"sys_vendor": "Amazon EC2"}, ECS, {}, "http://169.254.170.2/v4/abc-1"),
        ({"sys_vendor": "Amazon EC2"}, {"AWS_LAMBDA_FUNCTION_NAME": "f"}, {}, ""),
        ({"sys_vendor": "Amazon EC2"}, {"AWS_EC2_METADATA_DISABLED": "TRUE"}, {}, ""),
        ({"sys_vendor": "Amazon EC2"}, {"AWS_EC2_METADATA_DISABLED": "false"}, {}, "http://169.254.169.254"),
        (
            {"sys_vendor": "Amazon EC2"},
            {"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6"},
            {},
            "http://[fd00:ec2::254]",
        ),
        ({"product_name": "Alibaba Cloud ECS"}, {}, {}, "http://100.100.100.200"),
        ({}, {"FLY_MACHINE_ID": "1"}, {"aws": "a"}, ""),
        ({}, {"K_SERVICE": "s", "GCE_METADATA_HOST": "meta:81"}, {}, "http://meta:81"),
        # what somebody stated beats the hardware, and of two stated ones the hardware decides
        ({"product_name": "Google Compute Engine"}, {}, {"aws": "http://a/"}, "http://a"),
        ({"product_name": "Google Compute Engine"}, {}, {"aws": "a", "gce": "g"}, "http://g"),
        ({"sys_vendor": "Amazon EC2"}, {}, {"ec2": " http://b:1/x/ "}, "http://b:1/x"),
        ({}, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://env"}, {"aws": "http://config"}, "http://config"),
        ({}, {}, {"nobody": "http://x", "gce": " "}, ""),
        ({"sys_vendor": "Hetzner"}, {}, {"lambda": "127.0.0.1:9001"}, "http://169.254.169.254"),  # not for metadata
    ],
)
def test_one_service_is_asked_and_it_is_the_one_that_knows_most(tree, files, env, endpoints, asked: str) -> None:
    """A task asks its agent, a function nobody, a pod its machine; stated endpoints beat hardware, the file the environment."""
    one = to_ask(recognise(Surroundings(tree(files), env), endpoints))
    assert (one.endpoint if one else "") == asked


@pytest.mark.parametrize(
    ("files", "env", "instance"),
    [
        ({"sys_vendor": "Amazon EC2", "board_asset_tag": INSTANCE}, {}, INSTANCE),
        ({"sys_vendor": "Amazon EC2", "board_asset_tag": "Not Specified"}, {}, ""),
        ({"sys_vendor": "ACME", "board_asset_tag": INSTANCE}, {}, ""),
        ({HYPERVISOR_UUID: "ec2e1916-9099-7caf-fd21-012345abcdef"}, {}, "ec2e1916-9099-7caf-fd21-012345abcdef"),
        ({HYPERVISOR_UUID: "00000000-0000-0000-0000-000000000000"}, {}, ""),
        ({"product_serial": "GoogleCloud-77"}, {}, "GoogleCloud-77"),
        ({"sys_vendor": "Hetzner", "product_serial": "42"}, {}, "42"),
        ({"sys_vendor": "Hetzner", "product_serial": "unknown"}, {}, ""),
        ({"sys_vendor": "Dell", "product_serial": "42"}, {}, ""),
        ({}, {"FLY_MACHINE_ID": "148e"}, "148e"),
    ],
)
def test_the_instance_is_a_witness_where_it_can_be_told_without_asking(tree, files, env, instance: str) -> None:
    """Of a serial number's meaning a cloud has to be known; other vendors' numbers are not taken for instance ids."""
    root = tree(files)
    assert instance_id(Surroundings(root, env)) == instance
    assert witness(root, env).known.get("instance", "") == instance


def test_a_nomad_allocation_is_a_witness() -> None:
    """Its state may come along to another allocation on a migrated disk; that is another life."""
    assert witness("/nowhere", {"NOMAD_ALLOC_ID": "a1"}).known["task"] == "a1"


def test_a_service_asks_nobody_and_knows_what_lies_open(found) -> None:
    """Without leave to use the network the metadata service is named, not asked; DMI alone tells instance and provider."""
    identity = found({"sys_vendor": "Amazon EC2", "board_asset_tag": INSTANCE})
    assert (identity.host.value, identity.host.origin) == (INSTANCE, "dmi board_asset_tag")
    assert identity.attributes()["host.id"] == INSTANCE
    assert identity.attributes()["cloud.provider"] == "aws"
    (one,) = identity.considered
    assert (one.asked, one.note) == (False, "not asked")


@pytest.mark.parametrize("name", [platform.name for platform in PLATFORMS])
def test_every_platform_has_its_file(name: str) -> None:
    """What is recognised can be asked what it knows."""
    from shipper.labels.cloud import local, remote

    assert callable(local(name).detect)
    platform = next(one for one in PLATFORMS if one.name == name)
    if platform.service or platform.overrides:
        assert remote(name).PLACES
        assert callable(remote(name).ask)


# -- Kubernetes ------------------------------------------------------------------------------------------------------


def test_a_pod_says_what_the_downward_api_was_told_to_pass_on(found) -> None:
    """Variables and the files of a downwardAPI volume; labels give generation, release and service."""
    files = {
        "/etc/podinfo/labels": (
            f'app.kubernetes.io/name="shop"\napp.kubernetes.io/version="1.4"\npod-template-hash="{POD}"\njunk\nx=unquoted'
        ),
        "/etc/podinfo/annotations": 'note="two\\nlines \\"quoted\\""\n',
        "/var/run/secrets/kubernetes.io/serviceaccount/namespace": "prod",
    }
    env = {**KUBERNETES, "POD_NAME": f"shop-{POD}-x2x9z", "NODE_NAME": "node-1", "POD_UID": "u-1"}
    identity = found(files, env)
    assert (identity.service.value, identity.release.value) == ("shop", "1.4")
    assert (identity.generation.value, identity.generation.origin) == (POD, "pod label pod-template-hash")
    assert identity.host.value == f"shop-{POD}-x2x9z"
    wanted = {
        "k8s.pod.name": f"shop-{POD}-x2x9z",
        "k8s.pod.uid": "u-1",
        "k8s.node.name": "node-1",
        "k8s.namespace.name": "prod",
        "k8s.deployment.name": "shop",
        "k8s.replicaset.name": f"shop-{POD}",
    }
    assert wanted.items() <= identity.attributes().items()
    assert identity.problems == ()


def test_a_pod_that_was_told_nothing_knows_its_generation_by_its_host_name(found) -> None:
    """A Deployment's pod is named for the hash of its template, and its host is named for the pod."""
    identity = found({"/proc/sys/kernel/hostname": f"shop-{POD}-x2x9z"}, KUBERNETES)
    assert (identity.generation.value, identity.generation.origin) == (POD, "host name (its template's hash)")
    assert "k8s.pod.name" not in identity.attributes()  # a host name may be another


@pytest.mark.parametrize(
    "pod",
    ["db-0", "agent-x2x9z", "fluent-bit-x2x9z", "gke-blue-pool-1a2b3c4d-x7k2", "nightly-28934120-x2x9z", "shop", ""],
)
def test_a_name_that_is_not_that_of_a_deployments_pod_tells_no_generation(found, pod: str) -> None:
    """StatefulSets, DaemonSets, jobs and nodes have suffixes of their own."""
    identity = found({}, {**KUBERNETES, "POD_NAME": pod})
    assert identity.generation.value == ""
    assert "k8s.replicaset.name" not in identity.attributes()


def test_stateful_pods_have_the_hash_of_their_revision(found) -> None:
    """StatefulSets and DaemonSets label their pods with it."""
    files = {"/etc/podinfo/labels": 'controller-revision-hash="db-6b474476c4"'}
    identity = found(files, {**KUBERNETES, "POD_NAME": "db-0"})
    assert identity.generation.value == "db-6b474476c4"


def test_annotations_for_opentelemetry_state_attributes_and_labels(found) -> None:
    """As the conventions have it; what is stated beats what the platform derives."""
    files = {
        "/etc/podinfo/labels": f'pod-template-hash="{POD}"\napp.kubernetes.io/version="9"',
        "/etc/podinfo/annotations": (
            'resource.opentelemetry.io/shipper.generation="d-17"\n'
            'resource.opentelemetry.io/service.version="1.4"\nresource.opentelemetry.io/team="shop"\n'
        ),
    }
    identity = found(files, KUBERNETES)
    assert (identity.generation.value, identity.release.value) == ("d-17", "1.4")
    assert identity.attributes()["team"] == "shop"


def test_what_the_image_says_of_itself_beats_a_label_of_the_chart(found) -> None:
    """A chart's version label is often another thing's version; it counts for want of a better one."""
    files = {"/etc/podinfo/labels": 'app.kubernetes.io/version="9"', "/etc/shipper/release.json": '{"release": "1.4"}'}
    assert found(files, KUBERNETES).release.value == "1.4"


def test_a_knative_revision_is_the_generation(found) -> None:
    """It is a Deployment below, but its own name says more."""
    env = {**KUBERNETES, "K_SERVICE": "shop", "K_REVISION": "shop-00007", "POD_NAME": f"shop-00007-{POD}-x2x9z"}
    identity = found({}, env)
    assert (identity.service.value, identity.generation.value) == ("shop", "shop-00007")


# -- platforms that say all in the environment -----------------------------------------------------------------------


def test_a_nomad_job_states_labels_in_its_meta(found) -> None:
    """In either spelling; the allocation is the host."""
    env = {"NOMAD_ALLOC_ID": "a1", "NOMAD_JOB_NAME": "shop", "NOMAD_META_SHIPPER_GENERATION": "d-4"}
    identity = found({}, env)
    assert (identity.service.value, identity.host.value, identity.generation.value) == ("shop", "a1", "d-4")
    assert found({}, {"NOMAD_ALLOC_ID": "a1", "NOMAD_META_shipper_release": "2"}).release.value == "2"


def test_machines_of_one_fly_deploy_share_a_generation(found) -> None:
    """The deploy's id stands in the image's tag; each machine's version is its own, so it comes second."""
    env = {
        "FLY_APP_NAME": "shop",
        "FLY_MACHINE_ID": "148e",
        "FLY_MACHINE_VERSION": "01HV",
        "FLY_REGION": "ams",
        "FLY_IMAGE_REF": "registry.fly.io/shop:deployment-01H9RK9EYO9PGNBYAKGXSHV0PH",
    }
    identity = found({}, env)
    assert (identity.service.value, identity.host.value) == ("shop", "148e")
    assert identity.generation.value == "deployment-01H9RK9EYO9PGNBYAKGXSHV0PH"
    attributes = identity.attributes()
    assert attributes["container.image.name"] == "registry.fly.io/shop"
    assert (attributes["cloud.region"], attributes["host.id"]) == ("ams", "148e")
    assert found({}, {**env, "FLY_IMAGE_REF": "docker.io/shop:1"}).generation.value == "01HV"


def test_a_published_version_of_a_function_is_a_generation(found) -> None:
    """$LATEST is none: two deploys have it in common."""
    env = {"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_FUNCTION_VERSION": "7", "AWS_REGION": "eu-west-1"}
    identity = found({}, {**env, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128"})
    assert (identity.service.value, identity.generation.value) == ("f", "f:7")
    wanted = {"faas.name": "f", "faas.version": "7", "faas.max_memory": 128 << 20, "cloud.region": "eu-west-1"}
    assert wanted.items() <= identity.attributes().items()
    latest = found({}, {**env, "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "many"})
    assert latest.generation.value == ""
    assert "$LATEST is no published version" in [place.note for place in latest.generation.tried]


def test_a_cloud_run_job_has_no_revision(found) -> None:
    """An execution is a run, not a deploy."""
    env = {"CLOUD_RUN_JOB": "nightly", "CLOUD_RUN_EXECUTION": "nightly-x1", "CLOUD_RUN_TASK_INDEX": "3"}
    identity = found({}, env)
    assert (identity.service.value, identity.generation.value) == ("nightly", "")
    assert identity.attributes()["gcp.cloud_run.job.execution"] == "nightly-x1"
    assert identity.attributes()["gcp.cloud_run.job.task_index"] == 3


def test_a_service_loads_no_http_client_for_its_labels(tree) -> None:
    """On a machine of EC2 too; and asking needs the standard library only."""
    root = tree({"sys_vendor": "Amazon EC2"})
    script = (
        "import sys\nfrom shipper.labels.detect import detect\n"
        f"assert detect(None, {{}}, {root!r}).considered\n"
        "loaded = {'http.client', 'shipper.labels.asking'} & set(sys.modules)\n"
        "import shipper.labels.asking\nfrom shipper.labels.cloud import local\n"
        "from shipper.labels.platform import PLATFORMS\nfor platform in PLATFORMS: local(platform.name)\n"
        "loaded |= {'aiohttp', 'msgspec', 'yaml', 'botocore', 'google.protobuf', 'opentelemetry.sdk'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_about_identity_names_what_is_read() -> None:
    """Every platform has its row, every variable of the downward API and every way to state an endpoint is told."""
    page = (Path(__file__).parents[2] / "docs" / "identity.md").read_text()
    for platform in PLATFORMS:
        assert f"| `{platform.name}` |" in page
        variables = [*platform.overrides, platform.off, platform.mode]
        assert all(variable in page for variable in variables if variable not in ("", "ECS_CONTAINER_METADATA_URI"))
    for attribute, names in VARIABLES.items():
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{attribute}` |"))
        assert [name in row for name in names] == [True] * len(names)
