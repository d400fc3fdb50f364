"""What a volume says of itself beside its geometry: modality, unit, origin."""

import json
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from researchpacs.dicom.attributes import items_of, text_of
from researchpacs.dicom.geometry import Geometry
from researchpacs.dicom.suv_factors import suv_factors
from researchpacs.dicom.ultrasound import regions_of
from researchpacs.model import Frame, SeriesSource
from researchpacs.volume.padding import padding_range
from researchpacs.volume.real_world import mappings_of
from researchpacs.volume.suv import FACTORS

__all__ = ["attributes_of", "describe", "regions", "text"]

UNITS = {"BQML": "Bq/ml", "CNTS": "counts", "CPS": "counts/s", "GML": "g/ml", "PROPCNTS": "counts", "NONE": "1"}
"""Defined Terms of Units (PS3.3 C.8.9.1) as they are commonly written; all others are kept as they are."""


def attributes_of(series: SeriesSource) -> ChainMap[str, object]:
    """Give the columns of a series by keyword, then, where it tells them, the tags its instances have in common.

    A column has the first value there is, also where instances differ; what they have in common is the last map.
    """
    columns = series.attributes()
    known = ChainMap({k: v for k, v in columns.items() if v is not None})
    tags = columns.get("tags")
    return ChainMap(*known.maps, json.loads(tags)) if isinstance(tags, str) else known


def text(attributes: Mapping[str, object], keyword: str) -> str:
    """Give an attribute as text, empty where it is absent or, as NULL in a table may be, no text."""
    value = attributes.get(keyword)
    return value if isinstance(value, str) else ""


def describe(
    uid: str,
    attributes: ChainMap[str, object],
    frames: Sequence[Frame],
    geometry: Geometry,
    given: Sequence[Frame],
    *,
    rescale: bool,
) -> Mapping[str, object]:
    """Give the attributes of the DataArray; no geometry among them, for that is in the coordinates.

    Parameters
    ----------
    uid
        SeriesInstanceUID.
    attributes
        As `attributes_of` gives them.
    frames
        Of the volume.
    geometry
        What it is.
    given
        All frames of the series.
    rescale
        Whether its values are rescaled.
    """
    described: dict[str, object] = {
        "Modality": text(attributes, "Modality"),
        "SeriesInstanceUID": uid,
        "StudyInstanceUID": text(attributes, "StudyInstanceUID"),
        "units": _units(attributes) if rescale else "stored value",
        "history": (_opened(geometry),),
    }
    photometric = {frame.layout.photometric_interpretation for frame in frames}
    if photometric == {"MONOCHROME1"}:
        described["PhotometricInterpretation"] = "MONOCHROME1"
    component = {frame.traits.component for frame in frames}
    if len(component) == 1 and component != {""}:
        (described["ComplexImageComponent"],) = component
    padding = padding_range(attributes, frames, rescale=rescale)
    if padding is not None:
        described["padding"] = padding
    mappings = mappings_of(attributes.maps[-1])
    if mappings is not None:
        described["real_world"] = mappings
    if rescale and described["Modality"] == "PT":
        acquired = [frame.timing.acquired_us for frame in given if frame.timing.acquired_us is not None]
        described[FACTORS] = json.dumps(suv_factors(attributes.maps[-1], acquired))
    return described


def regions(header: Mapping[str, object]) -> dict[str, object]:
    """Give the calibrated regions of ultrasound as an attribute, JSON; nothing where there are none."""
    found = [asdict(region) for region in regions_of(header)]
    return {"regions": json.dumps(found)} if found else {}


def _opened(geometry: Geometry) -> str:
    if geometry.reasons == ("single_slice",):
        return "opened: one slice"
    return f"opened: {', '.join(geometry.reasons) or 'uniform'}"


def _units(attributes: Mapping[str, object]) -> str:
    modality, of_pet = text(attributes, "Modality"), text(attributes, "Units")
    if modality == "RTDOSE":
        return "Gy" if text(attributes, "DoseUnits") == "GY" else "relative"
    if modality in ("PT", "NM") and of_pet:
        return UNITS.get(of_pet, of_pet)
    tables = items_of(attributes, "ModalityLUTSequence")
    if tables:
        told = text_of(tables[0], "ModalityLUTType")
        return "" if told == "US" else told
    rescale_type = text(attributes, "RescaleType")
    if rescale_type and rescale_type != "US":  # US is "unspecified" (PS3.3 C.11.1.1.2)
        return rescale_type
    # Without a type the output of CT is in Hounsfield units (PS3.3 C.8.2.1.1.2).
    return "HU" if modality == "CT" else ""
