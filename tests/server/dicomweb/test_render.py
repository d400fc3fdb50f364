"""Rendered frames show what pydicom's own transformations, or dcmtk's, show."""

import shutil
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_windowing

from .conftest import Served, path_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
"""Real files break VRs, and pydicom says so when it reads them."""

Files = dict[str, tuple[bytes, pydicom.Dataset]]
PNG = {"Accept": "image/png"}


def picture(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(BytesIO(answer.content)))


def ct_of(files: Files) -> pydicom.Dataset:
    return next(
        ds for _, ds in files.values() if ds.get("PatientName") == "CompressedSamples^CT1" and "PixelData" in ds
    )


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(40, 400), (-600, 1500), (-800, 1.5)])
def test_a_window_is_pydicoms_window(served: Served, files: Files, function: str, center: float, width: float) -> None:
    ds = ct_of(files)
    params = {"window": f"{center},{width},{function.lower().replace('_', '-')}"}
    shown = picture(served.http.get(f"{path_of(ds)}/rendered", params=params, headers=PNG))
    told = pydicom.Dataset()
    for keyword in (
        "PhotometricInterpretation",
        "BitsStored",
        "PixelRepresentation",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        told[keyword] = ds[keyword]
    told.WindowCenter, told.WindowWidth, told.VOILUTFunction = center, width, function
    with np.errstate(over="ignore"):
        output = apply_windowing(apply_modality_lut(pixel_array(ds), ds), told)
        low, high = apply_windowing(np.asarray([-1e5, 1e5]), told)
    expected = (output - low) / (high - low) * 255
    assert np.abs(shown - expected).max() <= 0.501


@pytest.mark.parametrize("photometric", ["RGB", "PALETTE COLOR", "MONOCHROME1", "YBR_FULL_422", "YBR_FULL"])
def test_every_colour_model_is_shown(served: Served, files: Files, photometric: str) -> None:
    shown = 0
    for _, ds in files.values():
        if ds.get("PhotometricInterpretation") != photometric or "TransferSyntaxUID" not in ds.file_meta:
            continue
        image = picture(served.http.get(f"{path_of(ds)}/frames/1/rendered", headers=PNG))
        values = pixel_array(ds, index=0)
        if photometric == "PALETTE COLOR":
            colours = apply_color_lut(values, ds)
            expected = colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)
            np.testing.assert_array_equal(image, expected)
        elif photometric == "MONOCHROME1":
            darkest = apply_modality_lut(values, ds).argmax()
            assert image.reshape(-1)[darkest] == 0
        elif ds.BitsStored == 8:
            assert np.abs(image.astype(int) - values).max() <= 1
        shown += 1
    assert shown


@pytest.mark.skipif(shutil.which("dcm2pnm") is None, reason="dcmtk is missing: apt-get install dcmtk")
def test_dcmtk_sees_the_same_picture(served: Served, files: Files, tmp_path: Path) -> None:
    ds = ct_of(files)
    source = tmp_path / "ct.dcm"
    source.write_bytes(files[ds.SOPInstanceUID][0])
    subprocess.run(["dcm2pnm", "+on", "+Ww", "-600", "1500", source, tmp_path / "ct.png"], check=True)
    shown = picture(served.http.get(f"{path_of(ds)}/rendered", params={"window": "-600,1500,linear"}, headers=PNG))
    expected = np.asarray(Image.open(tmp_path / "ct.png").convert("L"))
    assert np.abs(shown.astype(int) - expected).max() <= 1


def test_a_viewport_cuts_flips_and_scales(served: Served, files: Files) -> None:
    ds = ct_of(files)
    whole = picture(served.http.get(f"{path_of(ds)}/rendered", headers=PNG))

    def shown(viewport: str) -> np.ndarray:
        return picture(served.http.get(f"{path_of(ds)}/rendered", params={"viewport": viewport}, headers=PNG))

    np.testing.assert_array_equal(shown("32,16,10,20,32,16"), whole[20:36, 10:42])
    np.testing.assert_array_equal(shown("32,16,10,20,-32,16"), whole[20:36, 10:42][:, ::-1])
    np.testing.assert_array_equal(shown("32,16,10,20,32,-16"), whole[20:36, 10:42][::-1])
    assert shown("64,200").shape == (64, 64)


def test_frames_and_thumbnails_of_every_level(served: Served, files: Files) -> None:
    many = next(ds for _, ds in files.values() if int(ds.get("NumberOfFrames") or 1) > 2 and ds.get("BitsStored") == 8)
    one = picture(served.http.get(f"{path_of(many)}/frames/1/rendered", headers=PNG))
    last = picture(served.http.get(f"{path_of(many)}/frames/{many.NumberOfFrames}/rendered", headers=PNG))
    assert one.shape == last.shape
    assert not np.array_equal(one, last)
    parts = path_of(many).split("/")
    for path in ("/".join(parts[:3]), "/".join(parts[:5]), path_of(many), f"{path_of(many)}/frames/2"):
        answer = served.http.get(f"{path}/thumbnail")
        assert answer.headers["content-type"] == "image/jpeg"
        assert max(picture(answer).shape[:2]) == 128
        assert picture(served.http.get(f"{path}/rendered")).ndim in (2, 3)
    uids = [str(many[name].value) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    assert served.client.retrieve_instance_rendered(*uids, media_types=("image/png",))
    assert served.client.retrieve_instance_frames_rendered(*uids, [1], media_types=("image/jpeg",))


def test_all_that_has_pixels_can_be_rendered(served: Served, files: Files) -> None:
    for _, ds in files.values():
        answer = served.http.get(f"{path_of(ds)}/rendered")
        if "PixelData" in ds or "FloatPixelData" in ds or "DoubleFloatPixelData" in ds:
            assert picture(answer).shape[:2] == (ds.Rows, ds.Columns)
        else:
            assert answer.status_code == 404


@pytest.mark.parametrize(
    "query",
    ["window=40", "window=a,b", "window=40,0", "window=nan,5", "window=40,400,cubic", "viewport=0,5", "viewport=1e9,5",
     "viewport=5,5,0,0,9999,1", "viewport=5,5,0,0,0,0", "quality=0", "quality=101", "quality=x"],
)  # fmt: skip
def test_nonsense_in_the_query_is_400(served: Served, files: Files, query: str) -> None:
    assert served.http.get(f"{path_of(ct_of(files))}/rendered?{query}").status_code == 400


def wado(served: Served, ds: pydicom.Dataset, **params: Any) -> Any:
    named = {"requestType": "WADO", "studyUID": ds.StudyInstanceUID, "seriesUID": ds.SeriesInstanceUID}
    return served.http.get(f"{served.url}/wado", params={**named, "objectUID": ds.SOPInstanceUID, **params})


def test_wado_uri_gives_files_and_pictures(served: Served, files: Files) -> None:
    ds = ct_of(files)
    stored, _ = files[ds.SOPInstanceUID]
    assert wado(served, ds, contentType="application/dicom", transferSyntax="*").content == stored
    explicit = pydicom.dcmread(BytesIO(wado(served, ds, contentType="application/dicom").content))
    assert explicit.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    shown = wado(served, ds, contentType="image/png", windowCenter=40, windowWidth=400)
    params = {"window": "40,400,linear"}
    expected = served.http.get(f"{path_of(ds)}/rendered", params=params, headers=PNG)
    np.testing.assert_array_equal(picture(shown), picture(expected))
    assert wado(served, ds).headers["content-type"] == "image/jpeg"
    assert picture(wado(served, ds, rows=64)).shape == (64, 64)
    sr = next(one for _, one in files.values() if one.get("Modality") == "SR")
    assert wado(served, sr).headers["content-type"] == "application/dicom"


@pytest.mark.parametrize(
    ("params", "status"),
    [({"requestType": "STOW"}, 400), ({"objectUID": ""}, 400), ({"objectUID": "1.2.3"}, 404), ({"rows": "x"}, 400),
     ({"contentType": "text/html"}, 406), ({"windowCenter": "1"}, 400), ({"frameNumber": "2"}, 404),
     ({"contentType": "application/dicom", "transferSyntax": "1.2.840.10008.1.2.4.202"}, 406)],
)  # fmt: skip
def test_what_wado_uri_cannot_do_it_says(served: Served, files: Files, params: dict[str, str], status: int) -> None:
    assert wado(served, ct_of(files), **params).status_code == status
