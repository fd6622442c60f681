"""The bill of materials: each component, file and image, and what went into it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.bom_ref import BomRef
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from provision.bundle.catalog import Selection
from provision.bundle.results import Ingredient
from provision.bundle.sources import Provided, ProvidedFile, ProvidedImage


def bill_of_materials(selection: Selection, provided: Mapping[str, Provided]) -> bytes:
    """CycloneDX 1.6 as JSON, the same for the same content."""
    bom = Bom()
    root = Component(
        name="bundle",
        version=f"{selection.kubernetes}-{selection.architecture}",
        type=ComponentType.PLATFORM,
        bom_ref=BomRef("bundle"),
    )
    bom.metadata.component = root
    known = _library(provided.values())
    for library in known.values():
        bom.components.add(library)
    tops = []
    for chosen in selection.components:
        top = Component(
            name=chosen.component,
            version=chosen.version,
            type=ComponentType.APPLICATION,
            description=chosen.about,
            bom_ref=BomRef(f"component/{chosen.component}"),
            licenses=[LicenseExpression(chosen.license)],
            external_references=[
                ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(chosen.home))
            ],
        )
        bom.components.add(top)
        tops.append(top)
        made = provided.get(chosen.component, Provided())
        parts = [_file(file) for file in made.files] + [_image(image) for image in made.images]
        lists = [file.ingredients for file in made.files] + [
            image.ingredients for image in made.images
        ]
        for part, ingredients in zip(parts, lists, strict=True):
            bom.components.add(part)
            bom.register_dependency(part, [known[one.purl] for one in ingredients])
        bom.register_dependency(top, parts)
    bom.register_dependency(root, tops)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    # The library stamps each document with the time and a random number; a
    # bundle built twice from the same content shall have the same bill.
    document["metadata"].pop("timestamp", None)
    document.pop("serialNumber", None)
    text = json.dumps(document, sort_keys=True)
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_OID, text).urn
    return (json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n").encode()


def _library(provided: Iterable[Provided]) -> dict[str, Component]:
    """Each ingredient once, by its package URL.

    A module that is built itself has no checksum in its own binary, and one in the
    binaries of others.
    """
    found: dict[str, Ingredient] = {}
    for made in provided:
        parts: Sequence[ProvidedFile | ProvidedImage] = (*made.files, *made.images)
        for item in parts:
            for one in item.ingredients:
                if one.checksum or one.purl not in found:
                    found[one.purl] = one
    return {purl: _ingredient(one) for purl, one in sorted(found.items())}


def _ingredient(one: Ingredient) -> Component:
    return Component(
        name=one.name,
        version=one.version,
        type=ComponentType.LIBRARY,
        purl=PackageURL.from_string(one.purl),
        bom_ref=BomRef(one.purl),
        properties=[Property(name="go:checksum", value=one.checksum)] if one.checksum else [],
    )


def _file(file: ProvidedFile) -> Component:
    return Component(
        name=file.name,
        version=file.version,
        type=ComponentType.FILE,
        bom_ref=BomRef(f"file/{file.name}"),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)],
        properties=[Property(name="provision:origin", value=file.origin)],
    )


def _image(image: ProvidedImage) -> Component:
    return Component(
        name=image.reference,
        version=image.version,
        type=ComponentType.CONTAINER,
        bom_ref=BomRef(f"image/{image.reference}"),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=image.manifest_sha256)],
        properties=[Property(name="provision:origin", value=image.origin)],
    )
