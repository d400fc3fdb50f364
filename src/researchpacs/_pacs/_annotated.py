"""What is drawn on series of an archive: how it gets in, and how it is read back."""

import warnings
from typing import TYPE_CHECKING

from researchpacs.errors import GeometryError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from researchpacs._pacs._facade import Pacs
    from researchpacs.annotation import Annotation, Source

__all__ = ["adapted", "annotations_on"]

_OBJECTS = """
select distinct object_key, object_sop_instance_uid
from (
    select object_key, object_sop_instance_uid from measurements where SeriesInstanceUID = $uid
    union all
    select object_key, object_sop_instance_uid from segments where SeriesInstanceUID = $uid
    union all
    select object_key, object_sop_instance_uid from contours where SeriesInstanceUID = $uid
)
order by object_sop_instance_uid, object_key
"""
_CLASSES = "select SOPInstanceUID, SOPClassUID from instances where SeriesInstanceUID = $uid"


def adapted(pacs: "Pacs", thing: object) -> "list[Dataset] | None":
    """Make objects of annotations, which refer to the series they were drawn on; None of anything else."""
    from researchpacs.annotation import annotation_datasets

    return annotation_datasets(
        thing, evidence=lambda uid: [pacs.series(uid).header()], sources=lambda uid: _source(pacs, uid)
    )


def annotations_on(pacs: "Pacs", uid: str) -> "list[Annotation]":
    """Read what was drawn on a series, in the order of the objects' UIDs; warn of objects that cannot be read."""
    from researchpacs.annotation import annotations_of

    found: list[Annotation] = []
    for key, sop_uid in pacs.sql(_OBJECTS, uid=uid).fetchall():
        data = pacs.archive.read(key)
        try:
            found += [one for one in annotations_of(data) if one.series_uid == uid]
        except (GeometryError, InvalidInputError) as error:
            warnings.warn(f"object ...{sop_uid[-8:]} is left out: {error}", UserWarning, stacklevel=3)
    return found


def _source(pacs: "Pacs", uid: str) -> "Source":
    from researchpacs.annotation import Source

    if not uid:
        raise NotFoundError("what was drawn does not say on which series; ingest the object that it was read from")
    series = pacs.series(uid)
    return Source(series.header(), series.frames(), dict(pacs.sql(_CLASSES, uid=uid).fetchall()))
