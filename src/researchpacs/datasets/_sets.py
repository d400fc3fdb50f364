"""Sample data sets that take no options: how each is written, and what is known of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from researchpacs.datasets import _beads, _chest_pet, _chest_structures, _oblique
from researchpacs.datasets._bead_files import count_of, write_beads

__all__ = ["Made", "made_sets"]


@dataclass(frozen=True)
class Made:
    """One data set."""

    write: Callable[[Path], None]
    """Writes its files to a folder."""
    truth: Callable[[], Mapping[str, Any]]
    count: int
    """Of its files."""
    least_bytes: int
    """That each of them has."""


@cache
def made_sets() -> Mapping[str, Made]:
    """All of them by name."""
    beads = {
        name: Made(partial(write_beads, one), partial(_beads.truth_of, name), count_of(one), 2 * _beads.SIDE**2)
        for name, one in _beads.SETS.items()
    }
    return {
        **beads,
        "oblique_mr": Made(
            _oblique.write_oblique, _oblique.oblique_truth, _oblique.COUNT, _oblique.LEAST_BYTES
        ),
        "chest_pet": Made(
            _chest_pet.write_pet, _chest_pet.pet_truth, _chest_pet.SLICES, _chest_pet.FRAME_BYTES
        ),
        "chest_seg": Made(
            _chest_structures.write_seg, _chest_structures.seg_truth, 1, _chest_structures.LEAST_BYTES["chest_seg"]
        ),
        "chest_rtstruct": Made(
            _chest_structures.write_struct, _chest_structures.struct_truth, 1,
            _chest_structures.LEAST_BYTES["chest_rtstruct"],
        ),
    }  # fmt: skip
