"""What an image's name says: container reference, digest, or a machine image's id."""

from __future__ import annotations

import re

from shipper.labels.finding import AttributeValue

_DIGEST = re.compile(r"(?:^|@)(sha(?:256|512):[0-9a-f]{32,128})$")


def digest_of(image: str) -> str:
    """The digest an image is pinned to (``sha256:...``), or empty."""
    match = _DIGEST.search(image)
    return match[1] if match else ""


def image_attributes(image: str, in_container: bool, host_image_known: bool = False) -> dict[str, AttributeValue]:
    """The resource attributes for an image label.

    A digest or a reference seen in a container names a container image (``container.image.*``, ``oci.manifest.digest``);
    anything else names the machine's image, unless ``host_image_known`` says that its name and version already stand.
    """
    if not image:
        return {}
    digest = digest_of(image)
    if not digest and not in_container:
        return {} if host_image_known else {"host.image.id": image}
    attributes: dict[str, AttributeValue] = {"oci.manifest.digest": digest} if digest else {}
    name, tag = _name_and_tag(image.removesuffix(digest).removesuffix("@"))
    if name:
        attributes["container.image.name"] = name
        if digest:
            attributes["container.image.repo_digests"] = [f"{name}@{digest}"]
    if tag:
        attributes["container.image.tags"] = [tag]
    return attributes


def _name_and_tag(reference: str) -> tuple[str, str]:
    """``registry:5000/app:1.2`` as name and tag; a colon before the last slash belongs to the registry's port."""
    head, colon, tail = reference.rpartition(":")
    if not colon or "/" in tail:
        return reference, ""
    return head, tail
