"""Coded concepts by name: what a finding is, where it is, what was measured (PS3.16)."""

from dataclasses import dataclass

__all__ = [
    "ABDOMEN",
    "AORTA",
    "BONE",
    "BRAIN",
    "CHEST",
    "CYST",
    "HEART",
    "KIDNEY",
    "LENGTH",
    "LESION",
    "LIVER",
    "LUNG",
    "LYMPH_NODE",
    "MASS",
    "MILLIMETER",
    "MUSCLE",
    "NEOPLASM",
    "NODULE",
    "SPLEEN",
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
AORTA = Code("15825003", "SCT", "Aorta")
BONE = Code("272673000", "SCT", "Bone")
BRAIN = Code("12738006", "SCT", "Brain")
CHEST = Code("816094009", "SCT", "Chest")
CYST = Code("367643001", "SCT", "Cyst")
HEART = Code("80891009", "SCT", "Heart")
KIDNEY = Code("64033007", "SCT", "Kidney")
LENGTH = Code("410668003", "SCT", "Length")
LESION = Code("52988006", "SCT", "Lesion")
LIVER = Code("10200004", "SCT", "Liver")
LUNG = Code("39607008", "SCT", "Lung")
LYMPH_NODE = Code("59441001", "SCT", "Lymph Node")
MASS = Code("4147007", "SCT", "Mass")
MILLIMETER = Code("mm", "UCUM", "millimeter")
MUSCLE = Code("71616004", "SCT", "Muscle")
NEOPLASM = Code("108369006", "SCT", "Neoplasm")
NODULE = Code("27925004", "SCT", "Nodule")
SPLEEN = Code("78961009", "SCT", "Spleen")
VERTEBRA = Code("51282000", "SCT", "Vertebra")
