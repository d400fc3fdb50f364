"""The handle of an archive and files read with pydicom give the same volume."""

import pytest

import researchpacs as rp

pytestmark = pytest.mark.data


@pytest.mark.parametrize(("copy", "folder"), [(True, "PET/image"), (False, "CT/image")])
def test_a_series_of_an_archive_opens_as_its_files_do(home, real_data, series_of, copy, folder):
    files = real_data / "petct_mr_rtstruct_sts_002" / folder
    expected = rp.read_volume(series_of(files))
    with rp.connect(home) as pacs:
        pacs.ingest(files, copy=copy, progress=False)
        series = pacs.search("series").one()
        vol = rp.read_volume(series)
        assert vol.identical(expected)
        assert rp.open_volume(series).compute().identical(expected)
        assert series.geometry.shape == vol.shape
        assert series.geometry.kind == "uniform"
    assert vol.attrs["units"] == ("g/ml" if folder.startswith("PET") else "HU")
