"""A file that a server sends has the frames that were declared, or none of it is counted."""

from io import BytesIO

import numpy as np
import pytest
from pydicom.uid import RLELossless

from researchpacs.dicom.file_frames import frames_of_file
from researchpacs.dicom.pixels import layout_of
from researchpacs.errors import PixelDataError
from researchpacs.testing import small_ct


def test_a_file_with_other_frames_than_were_declared_is_an_error() -> None:
    declared = small_ct()
    layout = layout_of(declared, declared.file_meta.TransferSyntaxUID)
    assert layout is not None
    without = small_ct()
    del without.PixelData
    compressed = small_ct()
    compressed.compress(RLELossless, generate_instance_uid=False)
    for sent in (declared, compressed):
        (frame,) = frames_of_file(_file(sent), layout)
        assert np.array_equal(frame, declared.pixel_array)
    with pytest.raises(PixelDataError, match="1 frames are declared, 0 are there"):
        list(frames_of_file(_file(without), layout))


def _file(ds: object) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)  # type: ignore[attr-defined]
    return buffer.getvalue()
