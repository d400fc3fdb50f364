"""Which segmentation has the named segments of a series, and their masks on its volume."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any

from researchpacs.cohort._members import Member
from researchpacs.errors import InvalidInputError, NotFoundError, PixelDataError, ResearchPacsError

if TYPE_CHECKING:
    import xarray as xr

    from researchpacs.archive import Archive
    from researchpacs.catalog import Catalog

__all__ = ["Segmentation", "as_labels", "masks_on", "segmentations_of"]

_OBJECTS = """
select distinct
    segments.patient_key, segments.SeriesInstanceUID, segments.label, segments.object_key,
    segments.object_sop_instance_uid, instances.sha256
from segments
join instances on instances.instance_key = segments.object_key
where segments.SeriesInstanceUID in (select unnest($uids)) and segments.label in (select unnest($labels))
order by all
"""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """An object of the archive that has segments of a series."""

    key: str
    sop_uid: str
    sha256: str
    labels: tuple[str, ...]


def as_labels(segments: Sequence[str] | None) -> tuple[str, ...]:
    """The labels that a user names.

    Raises
    ------
    InvalidInputError
        No list of different texts.
    """
    if segments is None:
        return ()
    labels = [segments] if isinstance(segments, str) else list(segments)
    if not labels or not all(isinstance(one, str) and one for one in labels) or len(set(labels)) < len(labels):
        raise InvalidInputError("segments= takes labels of segments, each once, such as ['Lung', 'Nodule']")
    return tuple(labels)


def segmentations_of(
    members: Sequence[Member], labels: Sequence[str], catalog: "Catalog", archive: "Archive"
) -> Mapping[tuple[str, str, str], tuple[Segmentation, ...] | ResearchPacsError]:
    """Find the segmentations that have the labels, by the identity of the series; or why there is no mask.

    Each label has to be in one segmentation of the series, no more: who reads which one has to be decided by a person.
    """
    rows = catalog.sql(_OBJECTS, uids=[one.series_uid for one in members], labels=list(labels)).fetchall()
    by_label: dict[tuple[str, str, str], list[tuple[str, str, str]]] = defaultdict(list)
    for patient, series, label, key, sop_uid, digest in rows:
        by_label[patient, series, label].append((key, sop_uid, digest or ""))
    return {one.identity: _chosen(one, labels, by_label, archive) for one in members}


def masks_on(
    vol: "xr.DataArray", found: Sequence[Segmentation], labels: Sequence[str], archive: "Archive"
) -> dict[str, "xr.DataArray"]:
    """Read the masks, in the order of the labels; errors as `segment_masks` and the decoder raise them."""
    from pydicom import dcmread

    from researchpacs.annotation.masks import segment_masks
    from researchpacs.dicom.file_frames import frames_of_file
    from researchpacs.dicom.pixels import layout_of

    masks: dict[str, Any] = {}
    for one in found:
        data = archive.read(one.key)
        ds = dcmread(BytesIO(data), force=True, stop_before_pixels=True)
        layout = layout_of(ds, str(ds.file_meta.get("TransferSyntaxUID") or ""))
        if layout is None:
            raise PixelDataError(f"the segmentation ...{one.sop_uid[-8:]} has no pixels")
        masks |= segment_masks(ds, frames_of_file(data, layout), one.labels, like=vol)
    return {label: masks[label] for label in labels}


def _chosen(
    member: Member,
    labels: Sequence[str],
    by_label: Mapping[tuple[str, str, str], Sequence[tuple[str, str, str]]],
    archive: "Archive",
) -> tuple[Segmentation, ...] | ResearchPacsError:
    chosen: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for label in labels:
        objects = by_label.get((member.patient_key, member.series_uid, label), ())
        if not objects:
            return NotFoundError(f"no segmentation of this series has a segment {label!r}")
        if len(objects) > 1:
            return InvalidInputError(
                f"{len(objects)} segmentations of this series have a segment {label!r}, and one has to be meant: "
                "pacs.sql('from segments') tells them apart; delete the others, or name segments of one only"
            )
        chosen[objects[0]].append(label)
    return tuple(
        Segmentation(key, sop_uid, digest or sha256(archive.read(key)).hexdigest(), tuple(own))
        for (key, sop_uid, digest), own in chosen.items()
    )
