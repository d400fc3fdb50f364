"""The measurements kept of a series: read without the masks and contours that may lie beside them."""

from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from researchpacs._pacs._facade import Pacs
    from researchpacs.annotation import Measurement

__all__ = ["measurements_on"]

_REPORTS = "select distinct object_key from measurements where SeriesInstanceUID = $uid order by all"


def measurements_on(pacs: "Pacs", uid: str) -> "list[Measurement]":
    """Read what was measured on a series, by the reports' keys."""
    from pydicom import dcmread

    from researchpacs.annotation import from_datasets

    reports = (
        dcmread(BytesIO(pacs.archive.read(key)), force=True) for (key,) in pacs.sql(_REPORTS, uid=uid).fetchall()
    )
    return [one for one in from_datasets(reports) if one.series_uid == uid]
