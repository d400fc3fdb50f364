"""Leakage: whatever of one part stands in another part too, so that a test knows what was trained on."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from researchpacs.cohort._members import Member
from researchpacs.cohort.part import Part
from researchpacs.errors import ResearchPacsError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fingerprint", "leaks_of"]

_SIDE = 16
_ALIKE_BITS = 26
"""Of 512: noise, another window or another codec flip fewer; other patients differ in many more."""

_FLAT = 0.02
"""Steps below this share of the picture's range count as none, so that noise in air decides nothing."""

_FRAMES = (
    "select SeriesInstanceUID, any_value(FrameOfReferenceUID) from series "
    "where SeriesInstanceUID in (select unnest($uids)) and FrameOfReferenceUID is not null group by all"
)


def leaks_of(parts: Sequence[Part], *, pixels: bool) -> "pd.DataFrame":
    """Find pairs of series in two parts that share what they should not; see `Splits.check`."""
    import pandas as pd

    placed = [(part.name, member) for part in parts for member in part.members]
    source = parts[0].source
    frames = dict(source.catalog.sql(_FRAMES, uids=[member.series_uid for _, member in placed]).fetchall())
    shared = {
        "patient": lambda one: one.patient_key,
        "study": lambda one: (one.patient_key, one.study_uid),
        "frame_of_reference": lambda one: frames.get(one.series_uid),
    }
    rows: list[tuple[Any, ...]] = []
    for kind, key in shared.items():
        rows += [(kind, *pair) for pair in _pairs_by(placed, key)]
    not_compared: list[str] = []
    if pixels:
        found = [(name, member, _fingerprint_of(source.handle(member))) for name, member in placed]
        not_compared = [member.series_uid for _, member, print_ in found if print_ is None]
        rows += [("pixels", *pair) for pair in _alike(found)]
    table = pd.DataFrame(rows, columns=["kind", "split_a", "SeriesInstanceUID_a", "split_b", "SeriesInstanceUID_b"])
    table.attrs["not_compared"] = not_compared
    return table


def fingerprint(image: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Describe an image by whether it grows brighter to the right and downwards, on a grid of 16 x 16 means.

    Parameters
    ----------
    image
        (rows, columns) of numbers.

    Returns
    -------
    bits
        (2, 16, 16); None for an image without any structure, which is like every other of its kind.
    """
    values = np.asarray(image, dtype=np.float64)
    if min(values.shape) < _SIDE + 1 or not np.isfinite(values).all():
        return None
    means = _means(values)
    limit = _FLAT * float(np.ptp(means))
    bits = np.stack([np.diff(means, axis=1)[:_SIDE] > limit, np.diff(means, axis=0)[:, :_SIDE] > limit])
    return bits if limit > 0 and bits.sum() >= _SIDE else None


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over a grid of 17 x 17 cells."""
    rows, columns = (np.linspace(0, size, _SIDE + 2).astype(int)[:-1] for size in values.shape)
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
    counts = np.outer(np.diff([*rows, values.shape[0]]), np.diff([*columns, values.shape[1]]))
    means: NDArray[np.float64] = sums / counts
    return means


def _fingerprint_of(series: Any) -> NDArray[np.bool_] | None:
    """Of the middle slice; None for what has none."""
    from researchpacs.volume import open_volume

    try:
        vol = open_volume(series)
        return fingerprint(vol[vol.shape[0] // 2].to_numpy())
    except ResearchPacsError:
        return None  # no volume of one value per pixel; the caller names it as not compared


def _pairs_by(placed: Sequence[tuple[str, Member]], key: Any) -> Iterator[tuple[str, str, str, str]]:
    groups: dict[Any, list[tuple[str, Member]]] = defaultdict(list)
    for name, member in placed:
        if (found := key(member)) is not None:
            groups[found].append((name, member))
    for group in groups.values():
        for (a, one), (b, other) in combinations(group, 2):
            if a != b:
                yield a, one.series_uid, b, other.series_uid


def _alike(found: Sequence[tuple[str, Member, NDArray[np.bool_] | None]]) -> Iterator[tuple[str, str, str, str]]:
    known = [(name, member, np.packbits(bits)) for name, member, bits in found if bits is not None]
    prints = np.array([bits for *_, bits in known], dtype=np.uint8).reshape(len(known), -1)
    for at, (name, member, bits) in enumerate(known):
        apart = np.bitwise_count(prints[at + 1 :] ^ bits).sum(axis=1)
        for later in np.flatnonzero(apart <= _ALIKE_BITS):
            other_name, other, _ = known[at + 1 + int(later)]
            if other_name != name:
                yield name, member.series_uid, other_name, other.series_uid
