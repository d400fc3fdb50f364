"""Measurements as structured reports, Comprehensive 3D SR by TID 1500, and back.

A report holds the measurements of one save, one source series and one author. Its UIDs are a hash of everything in it,
so equal measurements make an equal file, and other content never has the same UID.

What was made when: Content Date and Time are mandatory but must not differ between two runs of a notebook. They are
when the latest of the measurements was made, where that is known (`Measurement.created_at`, kept in each group's
Observation DateTime); else they repeat the date of the measured series, and no group has an Observation DateTime: then
the report tells that it does not know, and the archive knows when it was stored.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING

from researchpacs.annotation._found import measurements_of
from researchpacs.annotation.measurement import Measurement
from researchpacs.dicom.sr import measured
from researchpacs.errors import InvalidInputError, NotFoundError, UnsupportedError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["Evidence", "as_datasets", "from_datasets", "to_datasets"]

Evidence = Callable[[str], "Sequence[Dataset]"]
"""From a SeriesInstanceUID to headers of its instances, at least one."""


def as_datasets(thing: object, *, evidence: Evidence) -> "list[Dataset] | None":
    """Make reports of a measurement or a list of them; None for anything else."""
    things = list(thing) if isinstance(thing, list | tuple) else [thing]
    measurements = [one for one in things if isinstance(one, Measurement)]
    return to_datasets(measurements, evidence=evidence) if things and len(measurements) == len(things) else None


def to_datasets(measurements: Iterable[Measurement], *, evidence: Evidence) -> "list[Dataset]":
    """Make one report for each source series and author.

    Parameters
    ----------
    measurements
        In any order; the same one twice counts once.
    evidence
        Headers of the instances that a series consists of, or some of them; the report refers to these, and repeats
        the patient and the study of the first.

    Returns
    -------
    reports
        Complete data sets with File Meta Information, ready to be written. The same measurements and evidence give the
        same bytes.

    Raises
    ------
    NotFoundError
        `evidence` knows no instance of a series.
    UnsupportedError
        The series has no Frame of Reference.
    InvalidInputError
        The series is in another Frame of Reference than the points.
    """
    from researchpacs.annotation._compose import compose
    from researchpacs.annotation._header import identified

    groups: dict[tuple[str, str], list[Measurement]] = {}
    for one in dict.fromkeys(measurements):
        groups.setdefault((one.series_uid, one.author), []).append(one)
    reports = []
    for (series_uid, _), found in groups.items():
        headers = _headers(series_uid, evidence)
        # Measurements of one thing may share its tracking UID.
        ordered = sorted(found, key=lambda one: (one.tracking_uid, str(astuple(one))))
        _check_frame_of_reference(ordered, headers[0])
        reports.append(identified(compose(ordered, headers), "report"))
    return reports


def from_datasets(datasets: "Iterable[Dataset]") -> list[Measurement]:
    """Read measurements back from reports, ours and others'.

    Lengths, angles, axes, areas and single values whose points are in patient coordinates come back; what else a report
    holds, such as lengths drawn in the pixels of one image, stays in the catalog's table `measurements` only.
    """
    return [made for ds in datasets for made in measurements_of(measured(ds))]


def _headers(series_uid: str, evidence: Evidence) -> "list[Dataset]":
    headers = [ds for ds in evidence(series_uid) if ds.SeriesInstanceUID == series_uid]
    if not headers:
        raise NotFoundError(
            f"no instance of series {series_uid} to refer to; ingest the images before what is measured on them"
        )
    return headers


def _check_frame_of_reference(measurements: Sequence[Measurement], header: "Dataset") -> None:
    uid = str(header.get("FrameOfReferenceUID") or "")
    if not uid:
        raise UnsupportedError(
            f"series {header.SeriesInstanceUID} has no Frame of Reference, so its points have no meaning beside its "
            "images; such measurements cannot be stored yet"
        )
    for one in measurements:
        if one.frame_of_reference_uid != uid:
            raise InvalidInputError(
                f"points in Frame of Reference {one.frame_of_reference_uid} cannot be stored on series "
                f"{one.series_uid}, which is in {uid}; measure on the volume of the series itself"
            )
