"""Units are those that the header tells, or none: never a guess."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from researchpacs.dicom.pixels import PixelLayout
from researchpacs.model import Frame
from researchpacs.volume import plan

LAYOUT = PixelLayout("1.2.840.10008.1.2.1", 4, 5, 1, 16, 12, 0, "MONOCHROME2", 0)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Series:
    """Two slices with these attributes."""

    told: Mapping[str, object]
    uid: str = "1.2.3"

    def attributes(self) -> Mapping[str, object]:
        return self.told

    def frames(self) -> list[Frame]:
        return [
            Frame(f"1.{k}", 0, k + 1, (0.0, 0.0, 2.0 * k), AXIAL, (1.0, 1.0), 1.0, 0.0, 0, 40, LAYOUT) for k in range(2)
        ]

    def locate(self, sop_uids):
        raise AssertionError("no file is opened to plan")


@pytest.mark.parametrize(("attributes", "units"), [
    ({"Modality": "CT"}, "HU"),
    ({"Modality": "CT", "RescaleType": "HU_MOD"}, "HU_MOD"),
    ({"Modality": "CT", "RescaleType": "US"}, "HU"),
    ({"Modality": "PT", "Units": "BQML"}, "Bq/ml"),
    ({"Modality": "PT", "Units": "GML"}, "g/ml"),
    ({"Modality": "PT", "Units": "CNTS"}, "counts"),
    ({"Modality": "PT", "Units": "MGMINML"}, "MGMINML"),
    ({"Modality": "PT"}, ""),
    ({"Modality": "RTDOSE", "DoseUnits": "GY"}, "Gy"),
    ({"Modality": "RTDOSE", "DoseUnits": "RELATIVE"}, "relative"),
    ({"Modality": "MR", "RescaleType": "mm2/s"}, "mm2/s"),
    ({"Modality": "MR", "RescaleType": "US"}, ""),
    ({"Modality": "MR"}, ""),
])  # fmt: skip
def test_units_are_told_by_the_modality_and_its_attributes(attributes, units):
    assert plan(Series(attributes)).attrs["units"] == units
    assert plan(Series(attributes), rescale=False).attrs["units"] == "stored value"


def test_only_rescaled_pet_has_factors_of_suv():
    assert "suv_factors" in plan(Series({"Modality": "PT", "Units": "BQML"})).attrs
    assert "suv_factors" not in plan(Series({"Modality": "PT", "Units": "BQML"}), rescale=False).attrs
    assert "suv_factors" not in plan(Series({"Modality": "CT"})).attrs
