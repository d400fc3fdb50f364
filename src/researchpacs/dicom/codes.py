"""Coded concepts by name: what a finding is, where it is, what was measured (PS3.16)."""

from dataclasses import dataclass

__all__ = [
    "ABDOMEN",
    "ANGLE",
    "AORTA",
    "AREA",
    "BONE",
    "BRAIN",
    "CHEST",
    "COBB_ANGLE",
    "CYST",
    "HEART",
    "KIDNEY",
    "LENGTH",
    "LESION",
    "LIVER",
    "LONG_AXIS",
    "LUNG",
    "LYMPH_NODE",
    "MASS",
    "MAXIMUM",
    "MEAN",
    "MILLIMETER",
    "MINIMUM",
    "MUSCLE",
    "NEOPLASM",
    "NODULE",
    "PIXEL_VALUE",
    "SHORT_AXIS",
    "SPLEEN",
    "STANDARD_DEVIATION",
    "VERTEBRA",
    "Code",
]


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept.

    Two are equal when value and scheme are: the meaning is for people.
    """

    value: str
    """Code Value, such as ``"27925004"``."""
    scheme: str
    """Coding Scheme Designator: SCT, DCM, UCUM, LN, ``99...`` for private ones."""
    meaning: str
    """Code Meaning."""

    def __str__(self) -> str:
        return f"{self.scheme}:{self.value}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Code) and (self.value, self.scheme) == (other.value, other.scheme)

    def __hash__(self) -> int:
        return hash((self.value, self.scheme))


ABDOMEN = Code("818981001", "SCT", "Abdomen")
ANGLE = Code("1483009", "SCT", "Angle")
AORTA = Code("15825003", "SCT", "Aorta")
AREA = Code("42798000", "SCT", "Area")
BONE = Code("272673000", "SCT", "Bone")
BRAIN = Code("12738006", "SCT", "Brain")
CHEST = Code("816094009", "SCT", "Chest")
COBB_ANGLE = Code("285285000", "SCT", "Cobb angle")
CYST = Code("367643001", "SCT", "Cyst")
HEART = Code("80891009", "SCT", "Heart")
KIDNEY = Code("64033007", "SCT", "Kidney")
LENGTH = Code("410668003", "SCT", "Length")
LESION = Code("52988006", "SCT", "Lesion")
LIVER = Code("10200004", "SCT", "Liver")
LONG_AXIS = Code("103339001", "SCT", "Long Axis")
LUNG = Code("39607008", "SCT", "Lung")
LYMPH_NODE = Code("59441001", "SCT", "Lymph Node")
MASS = Code("4147007", "SCT", "Mass")
MAXIMUM = Code("56851009", "SCT", "Maximum")
MEAN = Code("373098007", "SCT", "Mean")
MILLIMETER = Code("mm", "UCUM", "millimeter")
MINIMUM = Code("255605001", "SCT", "Minimum")
MUSCLE = Code("71616004", "SCT", "Muscle")
NEOPLASM = Code("108369006", "SCT", "Neoplasm")
NODULE = Code("27925004", "SCT", "Nodule")
PIXEL_VALUE = Code("PIXEL", "99RPACS", "Value of a pixel")
SHORT_AXIS = Code("103340004", "SCT", "Short Axis")
SPLEEN = Code("78961009", "SCT", "Spleen")
STANDARD_DEVIATION = Code("386136009", "SCT", "Standard Deviation")
VERTEBRA = Code("51282000", "SCT", "Vertebra")
