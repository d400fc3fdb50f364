"""A small hospital: every test searches it, none changes it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from researchpacs.archive import EmbeddedArchive
from researchpacs.catalog import Catalog
from researchpacs.ingest import ingest
from researchpacs.search import Search
from researchpacs.storage.home import Home
from researchpacs.testing import small_ct

HOSTILE = "100% <b>x</b> o'brien _?\\"

SERIES: tuple[dict[str, Any], ...] = (
    {"PatientID": "A1", "PatientName": "Adams^Ann", "StudyDate": "20210105", "Modality": "CT", "SliceThickness": "1",
     "SeriesDescription": "chest contrast", "StudyDescription": "Thorax", "Manufacturer": "Acme"},
    {"PatientID": "A1", "PatientName": "Adams^Ann", "StudyDate": "20210105", "Modality": "PT", "SliceThickness": "5",
     "SeriesDescription": "whole body", "StudyDescription": "Thorax", "study": 0},
    {"PatientID": "A2", "PatientName": "adamson^bob", "StudyDate": "20231231", "Modality": "CT", "SliceThickness": "5",
     "SeriesDescription": "head", "StudyTime": "235959.5", "ContrastBolusAgent": "iodine", "PatientSex": None},
    {"PatientID": "B1", "PatientName": "Óscar^Ñ", "StudyDate": "20220615", "Modality": "MR", "SliceThickness": "0.9",
     "SeriesDescription": HOSTILE, "SpecificCharacterSet": "ISO_IR 192", "ReceiveCoilName": "head 8",
     "SoftwareVersions": ["syngo", "VB17"], "PerformedProcedureStepID": "17", "Allergies": ["nuts", "latex"]},
    {"PatientID": "", "PatientName": "", "StudyDate": "", "Modality": "CT", "SliceThickness": "2",
     "SeriesDescription": "untitled", "KVP": None},
)  # fmt: skip


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """Five series of three slices each."""
    home = Home.open(tmp_path_factory.mktemp("search") / "home")
    archive = EmbeddedArchive(home)
    made = [
        small_ct(
            number,
            **{
                "SeriesInstanceUID": f"1.2.3.{at}",
                "StudyInstanceUID": f"1.2.{series.get('study', at)}",
                "SOPInstanceUID": f"1.2.3.{at}.{number}",
                "SeriesNumber": at,
                "ExposureTime": 100 * number,
                "ImageComments": f"slice {number} of {at}",
                **{keyword: value for keyword, value in series.items() if keyword != "study"},
            },
        )
        for at, series in enumerate(SERIES)
        for number in (1, 2, 3)
    ]
    ingest(made, store=archive.store, home=home, progress=False)
    found = Catalog(home, archive)
    yield found
    found.close()
    archive.close()


@pytest.fixture
def search(catalog: Catalog) -> Callable[..., Search]:
    """Search with the row itself as handle."""

    def run(level: str = "study", /, **words: Any) -> Search:
        options = {
            name: words.pop(name) for name in ("text", "where", "order", "limit", "labels", "page") if name in words
        }
        return Search(catalog, level, words, **options, as_handle=lambda _, row: row)

    return run
