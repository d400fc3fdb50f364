"""Wrong arguments get an error of the contract's tree that says what was expected."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

import researchpacs as rp
from researchpacs.errors import InvalidInputError, NotFoundError, ResearchPacsError, UnsupportedError
from researchpacs.volume import as_volume


@pytest.fixture(scope="module")
def vol() -> Any:
    affine = np.diag([2.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]]
    values = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    return as_volume(values, affine, "1.2.3", attrs={"Modality": "CT", "SeriesInstanceUID": "1.2.4"})


WRONG: dict[str, tuple[Callable[[Any], object], type[ResearchPacsError], str]] = {
    "to_lps of text": (lambda vol: vol.dicom.to_lps("x"), InvalidInputError, "z, y, x"),
    "to_lps of two numbers": (lambda vol: vol.dicom.to_lps([1, 2]), InvalidInputError, r"\(\.\.\., 3\)"),
    "to_index of a dict": (lambda vol: vol.dicom.to_index({}), InvalidInputError, "x, y, z"),
    "to_nifti of a number": (lambda vol: vol.dicom.to_nifti(3), InvalidInputError, "path"),
    "to_nifti nowhere": (lambda vol: vol.dicom.to_nifti("/no/such/folder/a.nii"), NotFoundError, "folder"),
    "spacing as text": (lambda vol: rp.reconstruct.resample(vol, spacing="x"), InvalidInputError, "positive number"),
    "thickness as text": (
        lambda vol: rp.reconstruct.project(vol, along="z", thickness="x"), InvalidInputError, "thickness",
    ),
    "level as text": (lambda vol: rp.reconstruct.surface(vol, level="x"), InvalidInputError, "finite number"),
    "a mesh saved nowhere": (
        lambda vol: rp.reconstruct.surface(vol, level=30).save("/no/such/folder/a.stl"), NotFoundError, "folder",
    ),
    "a mesh in another format": (
        lambda vol: rp.reconstruct.surface(vol, level=30).save("a.step"), UnsupportedError, "stl",
    ),
    "a time as text": (
        lambda vol: rp.Measurement.length(vol, (0, 0, 0), (1, 0, 0), label="a", created_at="2020"),
        InvalidInputError, "datetime",
    ),
    "a finding as text": (
        lambda vol: rp.Measurement.length(vol, (0, 0, 0), (1, 0, 0), label="a", finding="x"), InvalidInputError, "Code",
    ),
    "a window of texts": (lambda vol: rp.Window("a", "b"), InvalidInputError, "width"),
    "a view of text": (lambda vol: rp.view("x"), NotFoundError, "path"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_told(vol: Any, name: str) -> None:
    call, kind, words = WRONG[name]
    with pytest.raises(kind, match=words):
        call(vol)


def test_a_time_with_a_zone_and_a_code_are_taken(vol: Any) -> None:
    now = datetime.now(UTC)
    made = rp.Measurement.length(vol, (0, 0, 0), (1, 0, 0), label="a", created_at=now, finding=rp.codes.NODULE)
    assert (made.created_at, made.finding) == (now, rp.codes.NODULE)
