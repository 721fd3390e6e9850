"""Directories of pods: whose they are, what was written in them, and which groups of files are about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.config import Files
from shipper.node.places import Place, container_in, files_of, fingerprint, is_of_pods, place_of, scan, sizes_differ
from tests.node.cluster import Kubelet

UID = "0a1b2c3d-1111-2222-3333-444455556666"


def test_only_directories_of_pods_are_found(tmp_path: Path) -> None:
    """Files, links and other directories are passed over."""
    kubelet = Kubelet(tmp_path / "pods")
    kubelet.write("web-1", UID, "one")
    (kubelet.pods / "lost+found").mkdir()
    (kubelet.pods / "shop_a_file-11111111").write_text("")
    (kubelet.pods / f"shop_link_{UID}").symlink_to(kubelet.home("web-1", UID))
    assert scan(str(kubelet.pods)) == [Place(str(kubelet.home("web-1", UID)), "shop", "web-1", UID)]


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ({}, {"app/0.log": 1}, True),
        ({"app/0.log": 5}, {"app/0.log": 5}, False),
        ({"app/0.log": 5}, {"app/0.log": 6}, True),
        ({"app/0.log": 5}, {"app/0.log.2026": 5, "app/0.log": 0}, False),
        ({"app/0.log": 5}, {"app/0.log": 5, "app/1.log": 2}, True),
        ({"app/0.log": 5, "app/1.log": 2}, {"app/1.log": 2}, False),
    ],
)
def test_what_was_written_is_told_from_what_was_moved(before: dict[str, int], now: dict[str, int], new: bool) -> None:
    """A rotation and a removal are no word of a pod; growth and a new file are."""
    assert sizes_differ(before, now) is new


def test_sizes_are_those_of_all_files(tmp_path: Path) -> None:
    """By path below the pod's directory; a directory that is gone has none."""
    kubelet = Kubelet(tmp_path / "pods")
    kubelet.write("web-1", UID, "one", container="init")
    kubelet.write("web-1", UID, "two", restarts=3)
    assert set(fingerprint(str(kubelet.home("web-1", UID)))) == {"init/0.log", "app/3.log"}
    assert fingerprint(str(kubelet.pods / "gone")) == {}


def test_a_group_is_narrowed_down_to_the_pod() -> None:
    """A group of files counts for the pods its patterns name, and reads nothing of the others."""
    place = place_of(f"/var/log/pods/shop_web-1_{UID}")
    assert place is not None
    every = Files(include=["/var/log/pods/*/*/*.log*"])
    shop = Files(include=["/var/log/pods/shop_*/app/*.log", "/var/log/syslog"])
    other = Files(include=["/var/log/pods/bank_*/*/*.log"])
    deep = Files(include=["/var/log/pods/**/*.log"])
    node = Files(include=["/var/log/syslog"])
    found = files_of(place, "/var/log/pods", [every, shop, other, deep, node])
    assert [patterns for _, patterns in found] == [
        (f"{place.path}/*/*.log*",),
        (f"{place.path}/app/*.log",),
        (f"{place.path}/**/*.log",),
    ]
    assert [is_of_pods(group, "/var/log/pods/") for group in (every, shop, other, deep, node)] == [True] * 4 + [False]


def test_a_file_is_of_the_container_whose_directory_it_is_in() -> None:
    """The first name below the pod's directory; nothing for what lies elsewhere."""
    place = Place(f"/var/log/pods/shop_web-1_{UID}", "shop", "web-1", UID)
    assert container_in(place, f"{place.path}/app/0.log.20260101-120000") == "app"
    assert container_in(place, "/var/log/syslog") == ""
