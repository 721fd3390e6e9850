"""Whose log a file is, going by its path and by what lies beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.labels.container_logs import CONFIG, MOST_LABELS, container_of, docker_config

UID = "0a1b2c3d-1111-2222-3333-444455556666"
ID = "0123456789abcdef" * 4
POD = f"/var/log/pods/shop_web-5d8c_{UID}/app/3.log"
IN_POD = {
    "k8s.namespace.name": "shop",
    "k8s.pod.name": "web-5d8c",
    "k8s.pod.uid": UID,
    "k8s.container.name": "app",
    "k8s.container.restart_count": 3,
}


@pytest.mark.parametrize(
    ("paths", "attributes"),
    [
        ([POD], IN_POD),
        ([POD + ".20260101-120000"], IN_POD),
        ([POD + ".20260101-120000.gz"], IN_POD),
        ([POD.replace(UID, UID.replace("-", ""))], {**IN_POD, "k8s.pod.uid": UID.replace("-", "")}),
        (
            [f"/var/log/containers/web-5d8c_shop_app-two-{ID}.log"],
            {
                "k8s.namespace.name": "shop",
                "k8s.pod.name": "web-5d8c",
                "k8s.container.name": "app-two",
                "container.id": ID,
            },
        ),
        ([f"/var/log/containers/web-5d8c_shop_app-{ID}.log", POD], {**IN_POD, "container.id": ID}),
        ([f"/none/docker/containers/{ID}/{ID}-json.log"], {"container.id": ID}),
        ([f"/none/docker/containers/{ID}/{ID}-json.log.1"], {"container.id": ID}),
        ([f"/none/docker/containers/{ID}/{'f' * 64}-json.log"], {}),
        (["/var/log/pods/shop_web_nouid/app/0.log"], {}),
        (["/var/log/app.log", ""], {}),
    ],
)
def test_a_path_tells_whose_log_it_is(paths: list[str], attributes: dict[str, object]) -> None:
    """Pod, container and id come from where runtimes and the kubelet put logs; all names of a file add up."""
    found = container_of(paths)
    assert found.attributes == attributes
    assert found.expected == bool(attributes)


def test_what_docker_knows_is_read_beside_the_log(tmp_path: Path) -> None:
    """Name, image and labels of a container; what the kubelet had Docker label is named as Kubernetes does."""
    directory = tmp_path / ID
    directory.mkdir()
    labels = {f"label{number:03d}": "x" for number in range(100)} | {
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.pod.namespace": "shop",
        "document": "x" * 1000,
    }
    config = {
        "Name": "/web_1",
        "Image": "sha256:aa",
        "Config": {"Image": "ghcr.io/a/web:2@sha256:bb", "Labels": labels},
    }
    (directory / CONFIG).write_text(json.dumps(config))
    found = container_of([str(directory / f"{ID}-json.log")]).attributes
    assert found["container.name"] == "web_1"
    assert found["container.image.name"] == "ghcr.io/a/web"
    assert found["container.image.tags"] == ["2"]
    assert found["container.image.id"] == "sha256:aa"
    assert found["container.runtime.name"] == "docker"
    assert found["k8s.pod.name"] == "web"
    assert found["container.id"] == ID
    assert sum(key.startswith("container.label.") for key in found) == MOST_LABELS
    assert "container.label.document" not in found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Name", "Image", "Config", "Labels"]), inner)
    ),
    max_leaves=10,
)


@given(value=JSON)
def test_an_odd_record_of_docker_s_does_no_harm(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    """Whatever stands in the record, nothing is raised, and only texts become attributes."""
    path = tmp_path_factory.getbasetemp() / CONFIG
    path.write_text(json.dumps(value))
    assert all(isinstance(found, str | list) for found in docker_config(str(path)).values())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_damaged_record_says_nothing(tmp_path: Path, content: bytes) -> None:
    """What is no JSON tells nothing."""
    (tmp_path / CONFIG).write_bytes(content)
    assert docker_config(str(tmp_path / CONFIG)) == {}
    assert docker_config(str(tmp_path / "none")) == {}
