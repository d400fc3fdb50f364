"""Every file of the sets that were made for codecs decodes to what others decode it to, whatever it was written in."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID

from researchpacs.dicom.encapsulation import frame_ranges
from researchpacs.dicom.pixels import decode_frame, decode_instance, layout_of
from researchpacs.dicom.scan import scan
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import InvalidInputError

pytestmark = pytest.mark.data

FOLDERS = ("transfer_syntaxes_ct", "misc_pydicom", "us_nm_cine", "xa_wg04")
NO_IMAGES = {
    "reportsi.dcm", "rtplan.dcm", "rtstruct.dcm", "test-SR.dcm", "waveform_ecg.dcm",
}  # fmt: skip
BROKEN = {"emri_small_jpeg_2k_lossless_too_short.dcm"}
"""A frame of it is cut off."""
ALONE = {"CT0012.fragmented_no_bot_jpeg_baseline.51.dcm"}
"""Several fragments of several frames without a table: nothing else here shares them out."""
LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55",
         "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"}  # fmt: skip
ROUNDING = 1
"""Levels by which codecs may differ in what they make of the same lossy frame."""


def files(root: Path) -> list[Path]:
    found = [path for name in FOLDERS for path in sorted((root / name).rglob("*")) if path.is_file()]
    return [path for path in found if path.suffix not in (".md", ".txt", ".json")]


def ours(path: Path) -> tuple[np.ndarray, str]:
    """All frames, (frames, rows, columns[, 3]), and their transfer syntax."""
    data = path.read_bytes()
    with reading_quietly():
        ds = pydicom.dcmread(path, force=True)
        if "StudyInstanceUID" not in ds:  # without an identity the scan takes nothing
            ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = "1.2", "1.2.3", "1.2.3.4"
            file = io.BytesIO()
            ds.save_as(file)
            data = file.getvalue()
        found = scan(io.BytesIO(data))
        layout = layout_of(ds, found.transfer_syntax_uid)
    assert layout is not None
    ranges = frame_ranges(lambda at, length: data[at : at + length], found.header_length, len(data), layout)
    if ranges is None:
        frames = [decode_instance(data, index, layout) for index in range(layout.number_of_frames)]
    else:
        frames = [decode_frame(data[at : at + length], layout) for at, length in ranges]
    return np.stack(frames), layout.transfer_syntax_uid


def theirs(path: Path, syntax: str) -> Iterator[tuple[str, np.ndarray]]:
    """What pydicom's plugins make of it, and ITK where pydicom cannot decode it."""
    with reading_quietly():
        ds = pydicom.dcmread(path, force=True)
        if "TransferSyntaxUID" not in ds.file_meta:
            ds.file_meta.TransferSyntaxUID = UID(syntax)
        frames = int(ds.get("NumberOfFrames") or 1)
        try:
            plugins = tuple(get_decoder(UID(syntax)).available_plugins) if UID(syntax).is_encapsulated else ("",)
        except NotImplementedError:
            plugins = ()
        found = 0
        for plugin in plugins:
            try:
                values = pixel_array(ds, decoding_plugin=plugin)
            except (AttributeError, NotImplementedError, RuntimeError, ValueError):
                continue
            found += 1
            yield plugin, values if frames > 1 else values[None]
        if not found and frames == 1:
            image = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
            yield "ITK", (image - float(ds.RescaleIntercept)) / float(ds.RescaleSlope)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_file_is_as_others_decode_it(real_data):
    compared: dict[str, int] = {}
    for path in files(real_data):
        if path.name in NO_IMAGES | BROKEN:
            continue
        values, syntax = ours(path)
        differences = {}
        for name, expected in theirs(path, syntax):
            assert values.shape == expected.shape, (path.name, name)
            differences[name] = float(np.abs(values.astype(float) - expected).max())
        assert bool(differences) == (path.name not in ALONE), f"nothing else decodes {path.name}"
        if path.name in ALONE:
            continue
        if syntax in LOSSY:
            assert min(differences.values()) <= ROUNDING, (path.name, differences)
        else:
            assert not any(differences.values()), (path.name, differences)
        compared[syntax] = compared.get(syntax, 0) + 1
    assert sum(compared.values()) == len(files(real_data)) - len(NO_IMAGES | BROKEN | ALONE)
    assert len(compared) >= 17, compared


def test_what_has_no_image_has_no_layout(real_data):
    for name in NO_IMAGES:
        ds = pydicom.dcmread(real_data / "misc_pydicom" / name, force=True)
        assert layout_of(ds, "1.2.840.10008.1.2.1") is None, name


def test_a_frame_that_is_cut_off_is_an_error(real_data):
    (name,) = BROKEN
    data = io.BytesIO((real_data / "misc_pydicom" / name).read_bytes())
    with pytest.raises(InvalidInputError, match="not terminated"):
        scan(data)
