"""Sample studies with known truth, made offline, the same to the last bit on every machine."""

import os
from functools import partial
from pathlib import Path
from typing import Any

from researchpacs.datasets._cache import cache_folder, made_once
from researchpacs.errors import InvalidInputError, NotFoundError

__all__ = ["names", "path", "truth"]

SAMPLES = "pydicom_samples"
MOST_SLICES = 2000


def names() -> list[str]:
    """Names that `path` and `truth` take, sorted."""
    from researchpacs.datasets._definition import defined
    from researchpacs.datasets._sets import made_sets

    return sorted([*defined(), *made_sets(), SAMPLES])


def path(name: str, *, slices: int | None = None, cache: str | os.PathLike[str] | None = None) -> Path:
    """Folder of DICOM files, made on first use and kept.

    Parameters
    ----------
    name
        Out of `names`. ``chest_ct`` is a chest with a 12.0 mm nodule, ``chest_ct_prior`` the same patient a year
        before; ``chest_pet``, ``chest_seg`` and ``chest_rtstruct`` belong to the study of ``chest_ct``: a PET with a
        hot spot in the nodule, a segmentation and a structure set of it. ``tilted_ct``, ``gapped_ct``, ``cine_mr``,
        ``enhanced_mr`` and ``oblique_mr`` are small series of a phantom of beads: with a gantry tilt, with lost slices,
        over a heartbeat, two echoes in one file, and two series turned against each other. ``pydicom_samples`` holds
        real files of many kinds from the installed pydicom package.
    slices
        How many slices the 300 mm of a generated chest are cut into, 150 (of 2.0 mm) unless given. The spacing is
        300 mm / slices, rounded to 0.01 mm. Each number makes a series of its own in the same study.
    cache
        Where generated data is kept, else ``RESEARCHPACS_CACHE``, else the platform's user cache folder.

    Returns
    -------
    folder
        Only the cache's: read from it, do not write to it.

    Raises
    ------
    NotFoundError
        No such name.
    InvalidInputError
        A number of slices that cannot be.
    """
    _check(name, slices)
    if name == SAMPLES:
        from researchpacs.datasets._samples import FILES, copy_samples, samples_key

        folder = cache_folder(cache) / f"{name}-{samples_key()}"
        return made_once(folder, copy_samples, partial(_holds, count=len(FILES), size=1))
    from researchpacs.datasets._definition import definition, digest
    from researchpacs.datasets._sets import made_sets

    if name in made_sets():
        made = made_sets()[name]
        folder = cache_folder(cache) / f"{name}-{digest(made.truth(), name)}"
        return made_once(folder, made.write, partial(_holds, count=made.count, size=made.least_bytes))
    from researchpacs.datasets._ct import Acquisition, write_ct

    table = definition(name)
    acquisition = Acquisition(table, slices or table["grid"]["slices"])
    folder = cache_folder(cache) / f"{name}-{acquisition.slices}-{digest(table, acquisition.series_uid)}"
    frame_bytes = 2 * acquisition.shape[1] * acquisition.shape[2]
    return made_once(
        folder, partial(write_ct, acquisition), partial(_holds, count=acquisition.slices, size=frame_bytes)
    )


def truth(name: str, *, slices: int | None = None) -> dict[str, Any]:
    """What is known about a data set because it was made that way.

    Returns
    -------
    truth
        Of a chest: ``nodule`` with its ``center_lps``, ``diameter_mm``, ``hu`` and ``diameter_ends_lps`` (along x);
        ``organs``, each with ``hu`` and ``point_lps``, well inside; ``spacing`` and ``shape`` in (z, y, x);
        ``origin_lps``, the centre of the first voxel; PatientID, StudyInstanceUID, SeriesInstanceUID,
        FrameOfReferenceUID and SOPInstanceUIDs from the feet up. Of the beads: ``beads``, each with ``center_lps`` and
        ``radius_mm``; ``beating_radius_mm`` at each phase; ``tilt_deg``, ``missing_slices`` counted from the feet,
        ``trigger_ms``, ``echo_ms``; ``spacing``, ``shape``, ``origin_lps`` and UIDs, of ``oblique_mr`` for each of
        its ``series``. Of ``chest_pet``: ``hot_spot`` and ``organs`` with their ``suv``, dose and half-life. Of
        ``chest_seg``: ``segments`` with their ``voxels``; of ``chest_rtstruct``: ``rois``. Of ``pydicom_samples``:
        ``files``.

    Raises
    ------
    NotFoundError, InvalidInputError
        As `path`.
    """
    _check(name, slices)
    if name == SAMPLES:
        from researchpacs.datasets._samples import FILES

        return {"files": list(FILES)}
    from researchpacs.datasets._sets import made_sets

    if name in made_sets():
        return dict(made_sets()[name].truth())
    from researchpacs.datasets._ct import Acquisition
    from researchpacs.datasets._definition import definition
    from researchpacs.datasets._shapes import point

    table = definition(name)
    acquisition = Acquisition(table, slices or table["grid"]["slices"])
    nodule, hu = table["nodule"], {part["name"]: part["hu"] for part in table["part"]}
    x, y, z = nodule["center_lps"]
    radius = nodule["diameter_mm"] / 2
    return {
        "description": table["description"],
        "nodule": {
            "center_lps": (x, y, z),
            "diameter_mm": nodule["diameter_mm"],
            "hu": nodule["hu"],
            "diameter_ends_lps": ((x - radius, y, z), (x + radius, y, z)),
        },
        "organs": {name: {"hu": hu[name], "point_lps": point(at)} for name, at in table["organs"].items()},
        "spacing": acquisition.spacing,
        "shape": acquisition.shape,
        "origin_lps": acquisition.position(0),
        "PatientID": table["patient"]["PatientID"],
        "StudyInstanceUID": acquisition.study_uid,
        "SeriesInstanceUID": acquisition.series_uid,
        "FrameOfReferenceUID": acquisition.frame_of_reference_uid,
        "SOPInstanceUIDs": [acquisition.sop_uid(index) for index in range(acquisition.slices)],
    }


def _check(name: str, slices: int | None) -> None:
    if name not in names():
        raise NotFoundError(f"there is no data set {name!r}; there are {', '.join(names())}")
    if slices is None:
        return
    from researchpacs.datasets._definition import defined

    if name not in defined():
        raise InvalidInputError(f"{name} has no slices to choose; leave `slices` out")
    if isinstance(slices, bool) or not isinstance(slices, int) or not 1 <= slices <= MOST_SLICES:
        raise InvalidInputError(f"slices is {slices!r}; give a whole number from 1 to {MOST_SLICES}")


def _holds(folder: Path, *, count: int, size: int) -> bool:
    """Whether a folder has `count` files of at least `size` bytes."""
    if not folder.is_dir():
        return False
    sizes = [entry.stat().st_size for entry in os.scandir(folder) if entry.name.endswith(".dcm")]
    return len(sizes) == count and min(sizes) >= size
