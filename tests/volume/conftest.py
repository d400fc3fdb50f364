"""A public fake of a series handle over real files, and small series made with pydicom."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from researchpacs.dicom.frame_traits import timing_of, traits_of
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.model import Frame, Location

ATTRIBUTES = (
    "Modality",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "Units",
    "RescaleType",
    "PixelPaddingRangeLimit",
    "PixelPaddingValue",
    "ImageType",
    "ModalityLUTSequence",
    "PatientWeight",
    "PatientSize",
    "PatientSex",
    "SUVType",
    "SeriesDate",
    "SeriesTime",
    "DecayCorrection",
    "CorrectedImage",
    "FrameReferenceTime",
    "ActualFrameDuration",
    "RadiopharmaceuticalInformationSequence",
)
DEFLATED = "1.2.840.10008.1.2.1.99"


@dataclass(frozen=True)
class FolderSeries:
    """A `SeriesSource` over files of one series, read with pydicom."""

    paths: tuple[Path, ...]
    uid: str

    def attributes(self) -> Mapping[str, object]:
        ds = pydicom.dcmread(self.paths[0], stop_before_pixels=True)
        return {keyword: ds.get(keyword) for keyword in ATTRIBUTES if keyword in ds}

    def frames(self) -> Sequence[Frame]:
        return [_frame(path) for path in self.paths if "Rows" in pydicom.dcmread(path, stop_before_pixels=True)]

    def locate(self, sop_uids: Sequence[str]) -> Sequence[Location]:
        places = {pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID: path for path in self.paths}
        return [Location(uid, str(places[uid]), places[uid].stat().st_size, 0) for uid in sop_uids]


def _frame(path: Path) -> Frame:
    ds = pydicom.dcmread(path)
    syntax = ds.file_meta.TransferSyntaxUID
    offset, length = _pixels_at(path, ds, syntax)
    return Frame(
        sop_uid=ds.SOPInstanceUID,
        index=0,
        instance_number=ds.get("InstanceNumber"),
        position=_floats(ds.get("ImagePositionPatient")),
        orientation=_floats(ds.get("ImageOrientationPatient")),
        pixel_spacing=_floats(ds.get("PixelSpacing")),
        rescale_slope=float(ds.get("RescaleSlope", 1)),
        rescale_intercept=float(ds.get("RescaleIntercept", 0)),
        byte_offset=offset,
        byte_length=length,
        layout=PixelLayout(
            transfer_syntax_uid=str(syntax),
            rows=ds.Rows,
            columns=ds.Columns,
            samples_per_pixel=ds.SamplesPerPixel,
            bits_allocated=ds.BitsAllocated,
            bits_stored=ds.get("BitsStored", ds.BitsAllocated),
            pixel_representation=ds.get("PixelRepresentation", 0),
            photometric_interpretation=ds.PhotometricInterpretation,
            planar_configuration=ds.get("PlanarConfiguration", 0),
            high_bit=ds.HighBit
            if ds.get("HighBit", ds.get("BitsStored", 1) - 1) != ds.get("BitsStored", 1) - 1
            else None,
            pixel_keyword=next(k for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if k in ds),
        ),
        traits=traits_of(ds),
        timing=timing_of(ds),
    )


def _pixels_at(path: Path, ds: Dataset, syntax: pydicom.uid.UID) -> tuple[int | None, int | None]:
    if syntax == DEFLATED:
        return None, None
    element = ds["PixelData"]
    if not syntax.is_encapsulated:
        return element.file_tell, len(element.value)
    data = path.read_bytes()
    start = element.file_tell + 8 + int.from_bytes(data[element.file_tell + 4 : element.file_tell + 8], "little")
    end = start
    while data[end : end + 4] == b"\xfe\xff\x00\xe0":
        end += 8 + int.from_bytes(data[end + 4 : end + 8], "little")
    return start, end - start


def _floats(value: Any) -> Any:
    return None if value is None else tuple(float(v) for v in value)


@pytest.fixture(scope="session")
def series_of() -> Callable[[Path | Iterable[Path]], FolderSeries]:
    """Take the files of a folder, or some files, as one series."""

    def take(source: Path | Iterable[Path]) -> FolderSeries:
        paths = sorted(source.iterdir()) if isinstance(source, Path) else source
        paths = tuple(path for path in paths if path.is_file() and pydicom.misc.is_dicom(path))
        uids = {pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID for path in paths}
        assert len(uids) == 1, f"{len(uids)} series"
        return FolderSeries(paths, str(uids.pop()))

    return take


@pytest.fixture
def make_series(tmp_path: Path, series_of: Callable[..., FolderSeries]) -> Callable[..., FolderSeries]:
    """Write a small CT with pydicom: one file for each position, pixels that tell the slice."""

    def make(
        positions: Sequence[Sequence[float] | None],
        *,
        orientation: Sequence[float] | Sequence[Sequence[float]] = (1, 0, 0, 0, 1, 0),
        each: Callable[[int, Dataset], None] | None = None,
        pixels: np.ndarray[Any, Any] | None = None,
    ) -> FolderSeries:
        folder = tmp_path / f"series-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        uid, study, frame_of_reference = generate_uid(), generate_uid(), generate_uid()
        for k, position in enumerate(positions):
            ds = Dataset()
            ds.file_meta = FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, uid, frame_of_reference
            ds.Modality, ds.InstanceNumber = "CT", k + 1
            plane = (np.arange(30).reshape(5, 6) + 100 * k).astype(np.uint16) if pixels is None else pixels[k]
            ds.Rows, ds.Columns = plane.shape
            ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
            ds.BitsAllocated = plane.itemsize * 8
            ds.BitsStored = 12 if plane.dtype == np.uint16 else ds.BitsAllocated
            ds.HighBit = ds.BitsStored - 1
            ds.PixelRepresentation = int(plane.dtype.kind == "i")
            ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
            if position is not None:
                ds.ImagePositionPatient = [float(f"{v:.9g}") for v in position]
            cosines = orientation[k] if isinstance(orientation[0], Sequence) else orientation
            ds.ImageOrientationPatient = [float(f"{v:.9g}") for v in cosines]
            ds.PixelSpacing = [0.8, 0.7]
            ds.PixelData = plane.tobytes()
            if each is not None:
                each(k, ds)
            ds.save_as(folder / f"{k:04}.dcm", enforce_file_format=True)
        return series_of(folder)

    return make
