"""What is said beside a volume: how it was acquired, and nothing of whom.

Attributes are named one by one. Free text, dates, names, identifiers and UIDs are not among them.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["sidecar_of", "write_json"]

_MS = 1e-3
# By the names that BIDS has for them, and with its units: seconds, degrees, tesla, millimetres.
_ATTRIBUTES: Mapping[str, tuple[str, float]] = {
    "Modality": ("Modality", 1),
    "Manufacturer": ("Manufacturer", 1),
    "ManufacturersModelName": ("ManufacturerModelName", 1),
    "SoftwareVersions": ("SoftwareVersions", 1),
    "BodyPart": ("BodyPartExamined", 1),
    "PatientPosition": ("PatientPosition", 1),
    "MagneticFieldStrength": ("MagneticFieldStrength", 1),
    "MRAcquisitionType": ("MRAcquisitionType", 1),
    "ScanningSequence": ("ScanningSequence", 1),
    "SequenceVariant": ("SequenceVariant", 1),
    "ScanOptions": ("ScanOptions", 1),
    "SequenceName": ("SequenceName", 1),
    "PulseSequenceName": ("PulseSequenceName", 1),
    "RepetitionTime": ("RepetitionTime", _MS),
    "EchoTime": ("EchoTime", _MS),
    "InversionTime": ("InversionTime", _MS),
    "FlipAngle": ("FlipAngle", 1),
    "NumberOfAverages": ("NumberOfAverages", 1),
    "PixelBandwidth": ("PixelBandwidth", 1),
    "ImagedNucleus": ("ImagedNucleus", 1),
    "ReceiveCoilName": ("ReceiveCoilName", 1),
    "SliceThickness": ("SliceThickness", 1),
    "KVP": ("KVP", 1),
    "ConvolutionKernel": ("ConvolutionKernel", 1),
    "CTDIvol": ("CTDIvol", 1),
    "SpiralPitchFactor": ("SpiralPitchFactor", 1),
    "Units": ("Units", 1),
    "DecayCorrection": ("DecayCorrection", 1),
    "AttenuationCorrection": ("AttenuationCorrectionMethod", 1),
    "ReconMethodName": ("ReconstructionMethod", 1),
}


def sidecar_of(handle: Any) -> dict[str, Any]:
    """Technical attributes of a series by their names in BIDS; those that it has."""
    row = handle.attributes()
    found = {name: _value(row.get(keyword), scale) for name, (keyword, scale) in _ATTRIBUTES.items()}
    if isinstance(versions := found["SoftwareVersions"], list):
        found["SoftwareVersions"] = " ".join(versions)
    return {name: value for name, value in found.items() if value not in (None, "", [])}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file for people to read, too."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _value(value: Any, scale: float) -> Any:
    if isinstance(value, list | tuple):
        return [one for one in (_value(one, scale) for one in value) if one not in (None, "")]
    if isinstance(value, bool | str):
        return value
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value if scale == 1 else round(value * scale, 9)
