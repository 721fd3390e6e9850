"""Who a pod is, from what the API server says of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.node.identity import identify
from shipper.node.places import Place
from shipper.node.pod import parse_pod
from tests.node.cluster import pod

UID = "0a1b2c3d-1111-2222-3333-444455556666"
PLACE = Place(f"/var/log/pods/shop_web-1_{UID}", "shop", "web-1", UID)
DIGEST = "sha256:" + "ab" * 32


def values(raw: dict[str, Any], container: str = "") -> dict[str, str]:
    """The labels of the pod, or of one of its containers."""
    own, each = identify(PLACE, parse_pod(raw))
    return (each[container] if container else own).values()


def test_a_deployments_pod_is_of_its_template() -> None:
    """Generation from the template's hash, service from the Deployment, release from the tag, image with its digest."""
    raw = pod("web-1", UID, labels={"pod-template-hash": "5d8f9c"}, owner=("ReplicaSet", "web-5d8f9c"), digest=DIGEST)
    assert values(raw) == {
        "service": "web",
        "release": "1.4.2",
        "image": f"registry.example:5000/checkout@{DIGEST}",
        "generation": "5d8f9c",
        "environment": "",
        "host": "web-1",
    }


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_the_revision_of_other_controllers_is_a_generation(kind: str) -> None:
    """``controller-revision-hash`` counts where there is no template's hash."""
    found = values(pod("web-0", UID, labels={"controller-revision-hash": "web-6c7b4d"}, owner=(kind, "web")))
    assert (found["service"], found["generation"]) == ("web", "web-6c7b4d")


def test_what_somebody_stated_comes_first() -> None:
    """An annotation beats OpenTelemetry's, which beats the usual labels."""
    labels = {"app.kubernetes.io/name": "named", "app.kubernetes.io/version": "9", "pod-template-hash": "hash"}
    assert values(pod("web-1", UID, labels=labels))["service"] == "named"
    stated = {"resource.opentelemetry.io/service.name": "otel", "resource.opentelemetry.io/shipper.generation": "g7"}
    found = values(pod("web-1", UID, labels=labels, annotations=stated))
    assert (found["service"], found["release"], found["generation"]) == ("otel", "9", "g7")
    stated["shipper.io/service"] = "ours"
    assert values(pod("web-1", UID, labels=labels, annotations=stated))["service"] == "ours"


def test_each_container_may_be_a_service_of_its_own() -> None:
    """An annotation with a container's name is about that container alone; each has its own image in any case."""
    raw = pod(
        "web-1",
        UID,
        annotations={"shipper.io/service.proxy": "edge", "shipper.io/release.proxy": "2.0"},
        labels={"app": "web"},
        containers={"app": "registry/web:1.0", "proxy": "registry/envoy:9"},
    )
    app, proxy = values(raw, "app"), values(raw, "proxy")
    assert (app["service"], app["release"]) == ("web", "1.0")
    assert (proxy["service"], proxy["release"]) == ("edge", "2.0")
    own, each = identify(PLACE, parse_pod(raw))
    assert own.values() == app
    assert each["proxy"].attributes()["container.image.name"] == "registry/envoy"
    assert each["proxy"].attributes()["k8s.container.name"] == "proxy"


def test_a_pod_without_anything_else_is_of_its_image() -> None:
    """A bare pod's generation is the image's digest; ``latest`` is no release."""
    found = values(pod("web-1", UID, image="web:latest", digest=DIGEST))
    assert (found["release"], found["generation"], found["service"]) == ("", DIGEST, "web-1")


def test_a_static_pod_is_known_by_the_hash_of_its_configuration() -> None:
    """The kubelet's directory of a static pod has that hash where others have the uid."""
    hash_ = "d41d8cd98f00b204e9800998ecf8427e"
    raw = pod("etcd-node-1", UID, annotations={"kubernetes.io/config.hash": hash_}, owner=("Node", "node-1"))
    found = parse_pod(raw)
    assert found is not None
    assert found.uid == hash_
    assert values(raw)["service"] == "etcd"


def test_a_cronjobs_pod_is_of_the_cronjob() -> None:
    """The Job's name has the minute in it; the service is what made the Job."""
    assert values(pod("nightly-28412345-x7k2p", UID, owner=("Job", "nightly-28412345")))["service"] == "nightly"


def test_without_a_word_of_the_server_the_directory_tells() -> None:
    """Namespace, name and uid are known, the rest is not, and that is said."""
    own, each = identify(PLACE, None, environment="prod")
    assert each == {}
    assert (own.host.value, own.environment.value, own.generation.value) == ("web-1", "prod", "")
    assert own.attributes()["k8s.pod.uid"] == UID
    assert len(own.problems) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_object_is_too_strange(data: st.DataObject) -> None:
    """Whatever stands in the place of a part of a pod: it is passed over, or the pod is none."""
    raw: Any = pod("web-1", UID, labels={"app": "web"}, annotations={"a": "b"}, owner=("Job", "x"))
    at = raw
    while isinstance(at, dict) and at:
        key = data.draw(st.sampled_from(sorted(at)))
        if data.draw(st.booleans()) or not isinstance(at[key], dict | list):
            at[key] = data.draw(JSON)
            break
        at = at[key][0] if isinstance(at[key], list) and at[key] else at[key]
    found = parse_pod(json.loads(json.dumps(raw)))
    if found is not None:
        own, each = identify(PLACE, found)
        for identity in (own, *each.values()):
            assert identity.service.value
            assert json.dumps(identity.attributes())
