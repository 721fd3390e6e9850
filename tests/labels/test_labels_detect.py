"""Who a host is, told from trees that look like /etc and /proc."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shipper.labels.detect import detect
from shipper.labels.finding import LABELS
from shipper.labels.identity import Identity

DIGEST = "sha256:" + "ab" * 32
CONTAINER = "0123456789abcdef" * 4
POD = "11111111-2222-3333-4444-555555555555"
MACHINE = "51df0b4bc3b04c9780e299b98ca373b8"


@dataclass
class Labels:
    """A configuration's labels section."""

    service: str = ""
    release: str = ""
    image: str = ""
    generation: str = ""
    environment: str = ""
    host: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def tree(tmp_path: Path):
    """Makes a file tree from path -> text and detects in it."""

    def build(
        files: dict[str, str] | None = None, env: dict[str, str] | None = None, labels: Labels | None = None
    ) -> Identity:
        for name, text in (files or {}).items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return detect(labels, env or {}, str(tmp_path))

    return build


def test_nothing_known_is_still_an_identity(tree) -> None:
    """An empty machine has a service name, because OpenTelemetry demands one, and nothing else that is made up."""
    identity = tree()
    assert identity.values() == {name: "unknown_service" if name == "service" else "" for name in LABELS}
    assert set(identity.attributes()) == {
        "os.type",
        "service.name",
        "telemetry.distro.name",
        "telemetry.distro.version",
    }
    assert identity.release.origin == "not found"
    assert identity.problems == ()


def test_a_plain_vm(tree) -> None:
    """Host name, hashed machine-id, operating system and its image become attributes with OpenTelemetry's names."""
    identity = tree(
        {
            "/etc/machine-id": MACHINE + "\n",
            "/proc/sys/kernel/hostname": "web-1\n",
            "/proc/sys/kernel/osrelease": "6.1.0\n",
            "/etc/os-release": "NAME=\"Flatcar\"\nVERSION_ID=4\nPRETTY_NAME='Flatcar 4'\nIMAGE_ID=web\nIMAGE_VERSION=2024.1\n#c\nx\n",
        }
    )
    attributes = identity.attributes()
    assert attributes["host.name"] == "web-1"
    assert MACHINE not in json.dumps(attributes)
    assert len(str(attributes["host.id"])) == 32
    assert (attributes["os.name"], attributes["os.version"], attributes["os.description"]) == (
        "Flatcar",
        "4",
        "Flatcar 4",
    )
    assert attributes["os.build_id"] == "6.1.0"
    assert (attributes["host.image.name"], attributes["host.image.version"]) == ("web", "2024.1")
    assert "host.image.id" not in attributes
    assert identity.image.value == "web_2024.1"
    assert identity.generation.value == "2024.1"
    assert identity.generation.origin == "os-release IMAGE_VERSION"
    assert identity.host.value == "web-1"


def test_os_release_in_a_container_does_not_name_the_hosts_image(tree) -> None:
    """Inside a container the file describes the container's base image; there is no host id to be had either."""
    identity = tree(
        {"/.dockerenv": "", "/etc/os-release": "ID=x\nIMAGE_ID=base\nIMAGE_VERSION=9\n", "/etc/machine-id": MACHINE}
    )
    assert identity.in_container
    assert identity.image.value == ""
    assert {"host.image.name", "host.image.version", "host.id"}.isdisjoint(identity.attributes())


def test_release_file_gives_release_and_image_but_no_generation_of_its_own(tree) -> None:
    """What was baked is taken; a generation in the file is not believed, it is derived from the image digest."""
    baked = {
        "version": 1,
        "service": "shop",
        "release": "1.4",
        "image": f"reg:5000/shop:1.4@{DIGEST}",
        "generation": "g",
        "commit": "c0",
    }
    identity = tree({"/etc/shipper/release.json": json.dumps(baked)})
    assert (identity.service.value, identity.release.value, identity.generation.value) == ("shop", "1.4", DIGEST)
    assert identity.release.origin == "/etc/shipper/release.json"
    attributes = identity.attributes()
    assert attributes["container.image.name"] == "reg:5000/shop"
    assert attributes["container.image.tags"] == ["1.4"]
    assert attributes["container.image.repo_digests"] == [f"reg:5000/shop@{DIGEST}"]
    assert attributes["oci.manifest.digest"] == DIGEST
    assert attributes["vcs.ref.head.revision"] == "c0"
    assert attributes["service.version"] == "1.4"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"release": 5}', '{"release": "x"', "[" * 100_000, '"text"', "\x00"]
)
def test_a_malformed_release_file_is_a_problem_and_not_fatal(tree, content: str) -> None:
    """The sidecar ships on without it, and says what is wrong with it."""
    identity = tree({"/etc/shipper/release.json": content}, {"SHIPPER_RELEASE": "2"})
    assert identity.release.value == "2"
    assert len(identity.problems) == 1
    assert identity.problems[0].startswith("/etc/shipper/release.json: not usable: ")


def test_precedence_of_a_generation(tree) -> None:
    """Explicit beats derived; of the derived ones the image's digest beats its version beats the release."""
    files = {"/etc/os-release": "IMAGE_ID=i\nIMAGE_VERSION=7\n"}
    assert tree({}, {"SHIPPER_RELEASE": "r"}).generation.value == "r"
    assert tree(files, {"SHIPPER_RELEASE": "r"}).generation.value == "7"
    assert tree(files, {"SHIPPER_RELEASE": "r", "SHIPPER_IMAGE": f"a@{DIGEST}"}).generation.value == DIGEST
    assert tree(files, {"SHIPPER_DEPLOY_ID": "d", "SHIPPER_IMAGE": DIGEST}).generation.value == "d"
    assert tree(files, {"SHIPPER_DEPLOY_ID": "d", "SHIPPER_GENERATION": "g"}).generation.value == "g"
    assert tree(files, {"SHIPPER_GENERATION": "g"}, Labels(generation="c")).generation.value == "c"


def test_every_label_remembers_where_it_was_looked_for(tree) -> None:
    """`whoami` can tell what was tried before the winner, and what the others would have said."""
    baked = json.dumps({"release": "file"})
    label = tree({"/etc/shipper/release.json": baked}, {"OTEL_RESOURCE_ATTRIBUTES": "service.version=otel"}).release
    assert (label.value, label.origin) == ("otel", "OTEL_RESOURCE_ATTRIBUTES service.version")
    assert [(place.place, place.value) for place in label.tried] == [
        ("SHIPPER_LABELS_RELEASE", ""),
        ("SHIPPER_RELEASE", ""),
        ("OTEL_RESOURCE_ATTRIBUTES service.version", "otel"),
        ("/etc/shipper/release.json", "file"),
    ]


def test_resource_attributes_are_percent_decoded_and_bad_ones_are_said(tree) -> None:
    """One malformed pair costs that pair only."""
    env = {
        "OTEL_RESOURCE_ATTRIBUTES": "a=1%2C2 , deployment.environment=prod,novalue,=x,k=%ff,team=a%3Db",
        "OTEL_SERVICE_NAME": "shop",
    }
    identity = tree({}, env)
    attributes = identity.attributes()
    assert (attributes["a"], attributes["team"], attributes["service.name"]) == ("1,2", "a=b", "shop")
    assert attributes["deployment.environment.name"] == "prod"
    assert "deployment.environment" not in attributes
    assert len(identity.problems) == 3


def test_configured_attributes_beat_those_of_the_environment(tree) -> None:
    """What the configuration says about this host is believed first, also where an attribute is a label's."""
    labels = Labels(attributes={"team": "config", "service.name": "config"})
    identity = tree({}, {"OTEL_RESOURCE_ATTRIBUTES": "team=env,service.name=env"}, labels)
    assert identity.attributes()["team"] == "config"
    assert identity.service.value == "config"


def test_a_stated_host_names_the_host_and_its_id(tree) -> None:
    """A name nobody else has is both; a separate id stays separate."""
    files = {"/proc/sys/kernel/hostname": "vm", "/etc/machine-id": MACHINE}
    stated = tree(files, {"SHIPPER_HOST": "web-7"})
    assert (stated.host.value, stated.attributes()["host.name"], stated.attributes()["host.id"]) == ("web-7",) * 3
    both = tree(files, {"SHIPPER_HOST": "web-7", "SHIPPER_HOST_ID": "i-1"}).attributes()
    assert (both["host.name"], both["host.id"]) == ("web-7", "i-1")


def test_a_host_name_that_every_machine_has_is_none(tree) -> None:
    """`localhost` says nothing; the hashed machine-id does."""
    identity = tree({"/proc/sys/kernel/hostname": "localhost\n", "/etc/machine-id": MACHINE})
    assert identity.host.value == identity.attributes()["host.id"]


@pytest.mark.parametrize("content", ["", "uninitialized", "0" * 32, "xyz", MACHINE[:-1]])
def test_a_machine_id_that_is_none_is_not_used(tree, content: str) -> None:
    """First boot, blank and damaged files give no id."""
    assert "host.id" not in tree({"/etc/machine-id": content}).attributes()


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "container", "pod"),
    [
        (f"12:cpu:/docker/{CONTAINER}\n", "", CONTAINER, ""),
        (f"0::/system.slice/docker-{CONTAINER}.scope\n", "", CONTAINER, ""),
        (f"11:memory:/kubepods/burstable/pod{POD}/{CONTAINER}\n", "", CONTAINER, POD),
        (
            f"0::/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-containerd-{CONTAINER}.scope\n",
            "",
            CONTAINER,
            POD,
        ),
        (f"1:name=systemd:/kubepods.slice/kubepods-pod{POD}.slice:cri-containerd:{CONTAINER}\n", "", CONTAINER, POD),
        (f"0::/machine.slice/libpod-{CONTAINER}.scope/container\n", "", CONTAINER, ""),
        ("5:cpu:/ecs/0f3e/" + "ab" * 16 + "-123\n", "", "ab" * 16 + "-123", ""),
        (
            "0::/\n",
            f"600 500 254:1 /var/lib/docker/containers/{CONTAINER}/hostname /etc/hostname rw - ext4 /dev/vda1 rw\n",
            CONTAINER,
            "",
        ),
        (
            "0::/\n",
            f"7 6 0:5 /containers/storage/overlay-containers/{CONTAINER}/userdata/hosts /etc/hosts rw - tmpfs tmpfs rw\n",
            CONTAINER,
            "",
        ),
        (
            "0::/\n",
            f"1 2 8:1 /var/lib/kubelet/pods/{POD}/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n"
            f"1 2 0:9 /run/containerd/io.containerd.grpc.v1.cri/sandboxes/{CONTAINER}/hostname /etc/hostname rw - tmpfs t rw\n",
            "",
            POD,
        ),
        # a Docker host sees its containers' mounts, at other places
        (
            "0::/init.scope\n",
            f"1 2 0:3 / /var/lib/docker/containers/{CONTAINER}/mounts/shm rw - tmpfs shm rw\n",
            "",
            "",
        ),
        ("4:memory:/process_api/" + "ab" * 16 + "\n", "", "", ""),
        ("garbage\n", "short line\n", "", ""),
    ],
)
def test_container_and_pod_are_read_from_the_kernels_tables(
    tree, cgroup: str, mountinfo: str, container: str, pod: str
) -> None:
    """cgroup v1 and v2 with and without a namespace, Docker, Podman, containerd, ECS; and what must not be mistaken."""
    identity = tree({"/proc/self/cgroup": cgroup, "/proc/self/mountinfo": mountinfo})
    attributes = identity.attributes()
    assert attributes.get("container.id", "") == container
    assert attributes.get("k8s.pod.uid", "") == pod
    assert identity.in_container == bool(container or pod)


def test_a_system_container_is_a_machine(tree) -> None:
    """lxc and nspawn run a whole system with an identity of its own."""
    identity = tree({"/etc/machine-id": MACHINE}, {"container": "systemd-nspawn"})
    assert not identity.in_container
    assert "host.id" in identity.attributes()


def test_an_image_id_without_digest_is_the_machines_image_outside_a_container(tree) -> None:
    """An AMI is host.image.id; the same text in a container is a container image."""
    assert tree({}, {"SHIPPER_IMAGE": "ami-0123"}).attributes()["host.image.id"] == "ami-0123"
    inside = tree({"/.dockerenv": ""}, {"SHIPPER_IMAGE": "shop:1"}).attributes()
    assert (inside["container.image.name"], inside["container.image.tags"]) == ("shop", ["1"])
    assert "host.image.id" not in inside


def test_an_identity_survives_being_kept_for_the_life(tree) -> None:
    """Dumped and restored it yields the same attributes; anything else is refused with ValueError."""
    identity = tree({"/etc/machine-id": MACHINE}, {"SHIPPER_RELEASE": "1", "SHIPPER_IMAGE": DIGEST}).with_life("L")
    again = Identity.restore(identity.dump())
    assert again.attributes() == identity.attributes()
    assert again.values() == identity.values()
    assert again.attributes()["shipper.life.id"] == "L"
    for text in ("", "{}", "[]", '{"labels": 5}', '{"labels": {}}'):
        with pytest.raises(ValueError, match=r".*"):
            Identity.restore(text)


def test_labels_import_neither_the_sdk_nor_the_sidecar_parts() -> None:
    """Services use this room: it must not drag in OpenTelemetry's SDK, gRPC, msgspec, YAML or aiohttp."""
    script = (
        "import sys, shipper.labels, shipper.labels.bake\n"
        "heavy = {'opentelemetry.sdk', 'grpc', 'msgspec', 'yaml', 'aiohttp', 'google.protobuf'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
