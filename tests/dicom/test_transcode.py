"""Transcoding between uncompressed and lossless transfer syntaxes: not a bit of the pixels, not a value is lost."""

import io
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from researchpacs.dicom.scan import scan
from researchpacs.dicom.transcode import TARGETS, transcode
from researchpacs.errors import PixelDataError, UnsupportedError
from researchpacs.testing import small_ct


def _file(size: int = 64) -> bytes:
    buffer = io.BytesIO()
    small_ct(1, size=size).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _to(file: bytes, to: str) -> bytes:
    found = scan(io.BytesIO(file))
    return transcode(file, header_length=found.header_length, transfer_syntax_uid=found.transfer_syntax_uid, to=to)


@pytest.mark.parametrize("to", sorted(TARGETS))
def test_there_and_back_is_the_same_object(to: str) -> None:
    file = _file()
    there = _to(file, to)
    assert dcmread(io.BytesIO(there)).file_meta.TransferSyntaxUID == to
    back, was = dcmread(io.BytesIO(_to(there, ExplicitVRLittleEndian))), dcmread(io.BytesIO(file))
    assert back == was
    assert back.SOPInstanceUID == back.file_meta.MediaStorageSOPInstanceUID == was.SOPInstanceUID


def test_real_compressed_files_become_plain_ones_with_the_same_pixels(real_data: Path) -> None:
    files = sorted((real_data / "transfer_syntaxes_ct").rglob("*.dcm"))
    assert files
    seen = set()
    for path in files:
        was = dcmread(path, force=True)
        if was.file_meta.TransferSyntaxUID in seen:
            continue
        seen.add(was.file_meta.TransferSyntaxUID)
        made = dcmread(io.BytesIO(_to(path.read_bytes(), ImplicitVRLittleEndian)))
        assert made.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        if was.file_meta.TransferSyntaxUID.is_compressed and "Lossless" not in was.file_meta.TransferSyntaxUID.name:
            continue  # decoders of lossy streams may differ by one
        assert np.array_equal(made.pixel_array, was.pixel_array), path.name


def test_what_cannot_be_written_is_told() -> None:
    with pytest.raises(UnsupportedError, match="can be written"):
        _to(_file(), "1.2.840.10008.1.2.4.50")
    with pytest.raises(PixelDataError):
        _to(_file(size=16), "1.2.840.10008.1.2.4.90")  # fewer rows than OpenJPEG's resolutions need
