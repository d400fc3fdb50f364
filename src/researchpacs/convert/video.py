"""Videos (PS3.3 A.32.5-7) of H.264 or H.265 as they were compressed, in their MP4 container.

Since 2015 the Standard takes MP4 beside MPEG-2 transport streams as the container of these transfer syntaxes (PS3.5
8.2.7 to 8.2.11). The whole file is one fragment, behind an empty offset table (PS3.5 A.4.6). Nothing is coded anew.
"""

from typing import NamedTuple

from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    VideoEndoscopicImageStorage,
    VideoMicroscopicImageStorage,
    VideoPhotographicImageStorage,
)
from pydicom.valuerep import format_number_as_ds

from researchpacs.convert._mp4 import Video, read_mp4, without_metadata
from researchpacs.errors import InvalidInputError, UnsupportedError

__all__ = ["SOP_CLASSES", "video_draft"]

SOP_CLASSES = {
    "ES": VideoEndoscopicImageStorage,
    "GM": VideoMicroscopicImageStorage,
    "XC": VideoPhotographicImageStorage,
}
"""By Modality."""
_MOST_BYTES = (1 << 31) - 2
_HIGH_PROFILE = 100
_H264_LEVELS = {41: "1.2.840.10008.1.2.4.102", 42: "1.2.840.10008.1.2.4.104"}
_H265_PROFILES = {1: "1.2.840.10008.1.2.4.107", 2: "1.2.840.10008.1.2.4.108"}
_H265_LEVEL_5_1 = 153
_ENCODE = "ffmpeg -i in.mp4 -an -c:v libx264 -profile:v high -level 4.1 -pix_fmt yuv420p out.mp4"
_420 = 1
_SAMPLES_OF_420 = 1.5


class _Coding(NamedTuple):
    transfer_syntax: str
    bits: int
    method: str


def video_draft(content: bytes, modality: str) -> tuple[Dataset, str]:
    """Make a video of an MP4 file.

    Parameters
    ----------
    content
        The file, at most 2 GiB.
    modality
        ``"XC"`` (photographic), ``"ES"`` (endoscopic) or ``"GM"`` (microscopic).

    Returns
    -------
    ds
        The video without patient and UIDs.
    transfer_syntax
        By the profile and level that the stream declares.

    Raises
    ------
    InvalidInputError
        Damaged, truncated, of an uneven frame rate, or another modality.
    UnsupportedError
        Another codec, profile or level, or sound.
    """
    if modality not in SOP_CLASSES:
        raise InvalidInputError(
            f"modality={modality!r}: a video is 'XC' (photographic), 'ES' (endoscopic) or 'GM' (microscopic)"
        )
    if len(content) > _MOST_BYTES:
        raise InvalidInputError(f"a video of {len(content):,} bytes; at most {_MOST_BYTES:,} are taken: split it")
    video = read_mp4(content)
    coding = _h264(video) if video.codec == "H.264" else _h265(video)
    clean = without_metadata(content)
    ds = Dataset()
    ds.SOPClassUID, ds.Modality = SOP_CLASSES[modality], modality
    ds.ImageType, ds.PatientOrientation = ["DERIVED", "SECONDARY"], None
    ds.AcquisitionContextSequence = []
    ds.AnatomicRegionSequence = [_anywhere()]
    _pixels(ds, video, coding.bits)
    _cine(ds, video)
    ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", coding.method
    bare = video.rows * video.columns * video.number_of_frames * _SAMPLES_OF_420 * (coding.bits / 8)
    ds.LossyImageCompressionRatio = f"{bare / len(clean):.4g}"
    ds.DerivationDescription = "Converted from an MP4 file, its compressed data kept"
    ds.PixelData = encapsulate([clean + b"\0" * (len(clean) % 2)], has_bot=False)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    return ds, coding.transfer_syntax


def _anywhere() -> Dataset:
    """Name a region where one has to be and nobody told it; attributes= may say more."""
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "123037004", "SCT", "Body structure"
    return region


def _h264(video: Video) -> _Coding:
    """Read profile and level of avcC (ISO/IEC 14496-15 5.3.3.1), and the extension that tells the sampling."""
    if len(video.configuration) < 7:
        raise InvalidInputError("the MP4 file is damaged: its decoder configuration is too short")
    profile, level = video.configuration[1], video.configuration[3]
    syntax = next((uid for most, uid in sorted(_H264_LEVELS.items()) if level <= most), None)
    if profile != _HIGH_PROFILE or syntax is None:
        raise UnsupportedError(
            f"the video is H.264 of profile {profile} at level {level / 10}; DICOM takes High (100) up to 4.2: "
            + _ENCODE
        )
    _require_420(_chroma_of_avcc(video.configuration), 8)
    return _Coding(syntax, 8, "ISO_14496_10")


def _chroma_of_avcc(configuration: bytes) -> int:
    """Read chroma_format behind the parameter sets; 4:2:0 where it is left out."""
    position = 5
    for mask in (0x1F, 0xFF):
        sets = configuration[position] & mask if position < len(configuration) else 0
        position += 1
        for _ in range(sets):
            position += 2 + int.from_bytes(configuration[position : position + 2], "big")
    return configuration[position] & 3 if position < len(configuration) else _420


def _require_420(chroma: int, bits: int) -> None:
    if chroma != _420 or bits not in (8, 10):
        raise UnsupportedError(f"the video is not sampled 4:2:0 in 8 or 10 bits, as DICOM wants it: {_ENCODE}")


def _h265(video: Video) -> _Coding:
    """Read profile, tier and level of hvcC (ISO/IEC 14496-15 8.3.3.1)."""
    if len(video.configuration) < 23:
        raise InvalidInputError("the MP4 file is damaged: its decoder configuration is too short")
    space, level = video.configuration[1], video.configuration[12]
    syntax = _H265_PROFILES.get(space & 0x1F)
    chroma, bits = video.configuration[16] & 3, (video.configuration[17] & 7) + 8
    if syntax is None or space & 0xC0 or level > _H265_LEVEL_5_1:
        raise UnsupportedError(
            f"the video is H.265 of profile {space & 0x1F} at level {level / 30:.1f}; DICOM takes Main and "
            f"Main 10 up to 5.1: {_ENCODE}"
        )
    _require_420(chroma, bits)
    return _Coding(syntax, bits, "ISO_23008_2")


def _pixels(ds: Dataset, video: Video, bits: int) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_PARTIAL_420", 0
    ds.Rows, ds.Columns = video.rows, video.columns
    if video.pixel_aspect:
        ds.PixelAspectRatio = list(video.pixel_aspect)
    ds.BitsAllocated = 8 if bits == 8 else 16
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, 0


def _cine(ds: Dataset, video: Video) -> None:
    ds.NumberOfFrames = video.number_of_frames
    ds.FrameIncrementPointer = 0x00181063
    ds.FrameTime = format_number_as_ds(round(video.frame_time_ms, 6))
    ds.CineRate = round(1000 / video.frame_time_ms)
