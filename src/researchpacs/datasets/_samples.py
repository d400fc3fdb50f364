"""The real files that pydicom's package carries: small, public, of many kinds."""

import shutil
from pathlib import Path

__all__ = ["FILES", "copy_samples", "samples_key"]

FILES = (
    "693_J2KI.dcm",
    "CT_small.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEG2000.dcm",
    "JPGExtended.dcm",
    "MR_small.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_rle.dcm",
    "examples_overlay.dcm",
    "examples_palette.dcm",
    "examples_rgb_color.dcm",
    "liver_1frame.dcm",
    "reportsi.dcm",
    "rtdose.dcm",
    "rtplan.dcm",
    "test-SR.dcm",
    "waveform_ecg.dcm",
)
"""Instances of their own, all of them readable; the package's other files are damaged on purpose or copies of these."""


def samples_key() -> str:
    """What the copies depend on."""
    import pydicom

    return pydicom.__version__


def copy_samples(folder: Path) -> None:
    """Copy the files from the installed package; nothing is ever downloaded."""
    import pydicom

    source = Path(pydicom.__file__).parent / "data" / "test_files"
    for name in FILES:
        shutil.copyfile(source / name, folder / name)
