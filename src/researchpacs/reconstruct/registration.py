"""Where the points of one volume are in another: found by mutual information, applied lazily, kept as DICOM.

ITK moves points of the fixed volume into the moving one, which is what resampling needs; DICOM registers the moving
frame to the fixed one. Both are here under names that say which.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from researchpacs.errors import GeometryError, InvalidInputError, UnsupportedError
from researchpacs.reconstruct._deformation import Deformation
from researchpacs.reconstruct._kernels import Interpolation
from researchpacs.reconstruct.grid import grid_of
from researchpacs.reconstruct.resample import moved_onto
from researchpacs.volume import Dicom
from researchpacs.volume.arguments import as_triples
from researchpacs.volume.frame import AXES

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from researchpacs.reconstruct._spatial_registration import Source

__all__ = ["KINDS", "Kind", "Registration", "register"]

Floats = NDArray[np.floating[Any]]
Kind = Literal["rigid", "affine", "bspline"]
KINDS = ("rigid", "affine", "bspline")

ROUNDS, PRECISION_MM = 100, 1e-4


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Registration:
    """How a moving volume lies in a fixed one."""

    kind: Kind
    fixed_to_moving: Floats
    """(4, 4): LPS mm of the fixed volume to LPS mm of the moving one; of a deformation what follows the splines."""
    deformation: Deformation | None
    moving_frame_of_reference_uid: str
    fixed: xr.DataArray
    """The grid of the fixed volume; its values are not kept."""
    similarity: float | None = None
    """Mutual information at the end, in nats; None where it was not found here."""

    @property
    def fixed_frame_of_reference_uid(self) -> str:
        """The Frame of Reference that the moving volume is brought into."""
        return Dicom(self.fixed).frame_of_reference_uid

    @property
    def moving_to_fixed(self) -> Floats:
        """(4, 4): LPS mm of the moving volume to LPS mm of the fixed one.

        Raises
        ------
        UnsupportedError
            Splines bend: no matrix says it.
        """
        if self.deformation is not None:
            raise UnsupportedError("a B-spline registration is no matrix; move points with to_fixed and to_moving")
        return np.linalg.inv(self.fixed_to_moving)

    @property
    def transform(self) -> Floats | Deformation:
        """What takes points of the fixed volume into the moving one, a matrix or bent."""
        if self.deformation is None:
            return self.fixed_to_moving
        return self.deformation.followed_by(self.fixed_to_moving)

    def to_moving(self, points_lps: ArrayLike) -> Floats:
        """Say where points of the fixed volume are in the moving one.

        Parameters
        ----------
        points_lps
            (..., 3), (x, y, z) mm.
        """
        points = as_triples(points_lps, "points_lps", "x, y, z in LPS mm")
        if self.deformation is not None:
            splines = self.deformation.displacement()
            flat = [splines.TransformPoint(point) for point in points.reshape(-1, 3).tolist()]
            points = np.array(flat).reshape(points.shape)
        moved: Floats = points @ self.fixed_to_moving[:3, :3].T + self.fixed_to_moving[:3, 3]
        return moved

    def to_fixed(self, points_lps: ArrayLike) -> Floats:
        """Say where points of the moving volume are in the fixed one; of splines to 1e-4 mm.

        Raises
        ------
        GeometryError
            The splines fold there, so that no one point of the fixed volume is at it.
        """
        points = as_triples(points_lps, "points_lps", "x, y, z in LPS mm")
        back = np.linalg.inv(self.fixed_to_moving)
        found: Floats = points @ back[:3, :3].T + back[:3, 3]
        if self.deformation is None:
            return found
        for _ in range(ROUNDS):
            off = (points - self.to_moving(found)) @ back[:3, :3].T
            if np.abs(off).max(initial=0.0) < PRECISION_MM:
                return found
            found = found + off
        raise GeometryError("the splines fold at one of the points, so it has no one place in the fixed volume")

    def apply(
        self,
        vol: xr.DataArray,
        *,
        like: xr.DataArray | None = None,
        interpolation: Interpolation = "linear",
        fill: float | None = None,
    ) -> xr.DataArray:
        """Bring a volume of the moving frame into the fixed one.

        Parameters
        ----------
        vol
            The moving volume, or another one in its Frame of Reference, such as a mask.
        like
            Any volume in the fixed Frame of Reference whose grid to take, by default the fixed one.
        interpolation, fill
            As for `resample`.

        Returns
        -------
        vol
            On the grid of the fixed volume, in its Frame of Reference; lazy if `vol` is.

        Raises
        ------
        GeometryError
            `vol` or `like` is in another Frame of Reference than what was registered.
        """
        onto = self.fixed if like is None else like
        for what, one, expected in (
            ("vol", vol, self.moving_frame_of_reference_uid), ("like", onto, self.fixed_frame_of_reference_uid),
        ):  # fmt: skip
            found = Dicom(one).frame_of_reference_uid
            if found != expected:
                raise GeometryError(
                    f"{what} is in Frame of Reference ...{found[-8:]}, registered was ...{expected[-8:]}"
                )
        return moved_onto(
            vol,
            onto,
            self.transform,
            f"registered: {self.kind}, {interpolation}",
            interpolation=interpolation,
            fill=fill,
        )

    def to_dicom(self, moving: "Source", fixed: "Source") -> "Dataset":
        """Make a Spatial Registration of it (PS3.3 A.39.1), to be ingested or written.

        Parameters
        ----------
        moving, fixed
            The series that were registered: handles, or headers of their instances. The object belongs to the patient
            and study of `fixed`.

        Returns
        -------
        ds
            With File Meta Information; the same registration gives the same UIDs.

        Raises
        ------
        UnsupportedError
            A B-spline registration.
        InvalidInputError
            No instance, or of another Frame of Reference than what was registered.
        """
        from researchpacs.reconstruct._spatial_registration import compose

        return compose(self, moving, fixed)

    @classmethod
    def from_dicom(cls, ds: "Dataset", fixed: xr.DataArray) -> "Registration":
        """Read a Spatial Registration, ours or another's.

        Parameters
        ----------
        ds
            Its data set.
        fixed
            A volume in the Frame of Reference that is registered to; results of `apply` take its grid.

        Raises
        ------
        InvalidInputError
            Another object, or one that does not say of one moving frame where it is.
        GeometryError
            It is about another Frame of Reference than that of `fixed`.
        """
        from researchpacs.reconstruct._spatial_registration import parse

        kind, matrix, uid = parse(ds, Dicom(fixed).frame_of_reference_uid)
        return cls(kind, np.linalg.inv(matrix), None, uid, without_values(fixed))

    def __repr__(self) -> str:
        middle = Dicom(self.fixed).to_lps((np.array(grid_of(self.fixed).shape) - 1) / 2)
        shift = float(np.linalg.norm(self.to_moving(middle) - middle))
        return f"Registration({self.kind}, {shift:.1f} mm at the middle)"


def register(moving: xr.DataArray, fixed: xr.DataArray, kind: Kind = "rigid") -> Registration:
    """Find how a moving volume lies in a fixed one, by Mattes mutual information from coarse to fine.

    Both are read into memory. Volumes of one Frame of Reference are taken to lie nearly right; of others the middles
    are laid upon each other first. Padding is left out.

    Parameters
    ----------
    moving, fixed
        Dimensions z, y, x, also of other modalities, spacings and directions.
    kind
        ``"rigid"`` (turned and shifted), ``"affine"`` (scaled and sheared as well, after rigid), ``"bspline"`` (bent,
        by control points about 40 mm apart, after affine).

    Raises
    ------
    InvalidInputError
        Another kind, or volumes of one value.
    GeometryError
        A volume has no affine, leading dimensions, or is sheared: repair or resample a tilted one first.
    """
    if kind not in KINDS:
        raise InvalidInputError(f"kind={kind!r}: expected one of {', '.join(map(repr, KINDS))}")
    from researchpacs.reconstruct._alignment import aligned

    matrix, deformation, similarity = aligned(moving, fixed, kind)
    uid = Dicom(moving).frame_of_reference_uid
    return Registration(kind, matrix, deformation, uid, without_values(fixed), similarity)


def without_values(vol: xr.DataArray) -> xr.DataArray:
    """Give the grid of a volume as an array that takes no memory."""
    extra: list[Any] = [name for name in vol.dims if name not in AXES]
    plain = vol.isel(dict.fromkeys(extra, 0), drop=True).transpose(*AXES)
    return plain.copy(data=np.broadcast_to(np.zeros((), np.bool_), plain.shape)).drop_attrs(deep=False)
