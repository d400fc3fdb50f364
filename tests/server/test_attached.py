"""Servers beside one's own archive, attached by their URL: one query over both, hits that open, no secret shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import researchpacs as rp
from researchpacs.errors import InvalidInputError, RemoteError
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access
from researchpacs.testing import small_ct

from .conftest import Served, free_port

OTHER = "1.2.3"
SECRET = "s3cret-word"


def _slices(*numbers: int) -> list[object]:
    return [
        small_ct(number, PatientID="B", SeriesInstanceUID=OTHER, SOPInstanceUID=f"{OTHER}.{number}")
        for number in numbers
    ]


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator["rp._pacs.Pacs"]:
    with rp.connect(tmp_path / "theirs") as theirs:
        theirs.ingest(_slices(1, 2, 3, 4))
        yield theirs


@pytest.fixture(params=["orthanc+{}/", "dicomweb+{}/dicom-web"])
def url(request: pytest.FixtureRequest, theirs: "rp._pacs.Pacs", served: Served) -> Iterator[str]:
    with served(create_app(theirs, access=Access(token=SECRET))) as address:
        yield request.param.format(address.replace("http://", f"http://x:{SECRET}@"))


def test_a_server_is_asked_beside_one_s_own_and_its_series_open(home: Path, theirs: "rp._pacs.Pacs", url: str) -> None:
    with rp.connect(home) as pacs:
        pacs.ingest([small_ct(number) for number in (1, 2, 3)])
        attached = pacs.attach("clinic", url)
        both = "select SeriesInstanceUID, instance_count from series union all by name "
        both += "select SeriesInstanceUID, instance_count from clinic.series"
        assert set(pacs.sql(both).fetchall()) == {(str(small_ct().SeriesInstanceUID), 3), (OTHER, 4)}
        (hit,) = pacs.search("series", archive="clinic", PatientID="B")
        assert rp.read_volume(hit).equals(rp.read_volume(theirs.series(OTHER)))

        theirs.ingest(_slices(5))
        attached.sync()
        assert pacs.sql("select count(*) from clinic.instances").fetchall() == [(5,)]
        assert pacs.sql("select count(*) from instances").fetchall() == [(3,)]
        report = pacs.retrieve("clinic", pacs.search("series", archive="clinic"))
        assert (report.stored, report.refused) == (5, 0)
        assert pacs.archive.read(f"{OTHER}.5") == theirs.archive.read(f"{OTHER}.5")
        for shown in (repr(attached), repr(pacs.attached), pacs.attach_sql(), str(hit)):
            assert SECRET not in shown


def test_a_server_that_is_not_there_is_told_without_the_secret(home: Path) -> None:
    with rp.connect(home) as pacs:
        for url in ("orthanc+http://x:{}@127.0.0.1:{}/", "dicomweb+http://x:{}@127.0.0.1:{}/dicom-web"):
            with pytest.raises(RemoteError) as caught:
                pacs.attach("clinic", url.format(SECRET, free_port()))
            assert SECRET not in str(caught.value)
        with pytest.raises(InvalidInputError):
            pacs.search("series", archive="clinic")
