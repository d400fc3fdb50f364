"""``DataArray.dicom``: where the voxels of a volume are in the patient."""

import os
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.volume import convert, coordinates
from researchpacs.volume.adc import adc
from researchpacs.volume.arguments import as_triples
from researchpacs.volume.frame import AXES, frame_of
from researchpacs.volume.index import AxisIndex
from researchpacs.volume.padding import padding_of
from researchpacs.volume.real_world import real_world
from researchpacs.volume.suv import suv

if TYPE_CHECKING:
    import SimpleITK

    from researchpacs.volume.zarr_store import VolumeStore

__all__ = ["Dicom", "install"]

Floats = NDArray[np.float64]


class Dicom:
    """Geometry of a volume, derived from its coordinates at each call.

    Matrices and tuples are in (z, y, x) index order; points are (x, y, z) LPS mm. Every member that needs a place in
    the patient raises GeometryError where the array no longer has one.
    """

    __slots__ = ("_vol",)

    def __init__(self, vol: xr.DataArray) -> None:
        if not isinstance(vol, xr.DataArray):
            raise InvalidInputError(
                f"expected a volume, an xarray.DataArray from open_volume; found {type(vol).__name__}"
            )
        self._vol = vol

    @property
    def affine_lps(self) -> Floats:
        """(4, 4): voxel index (z, y, x, 1) to LPS mm."""
        return coordinates.affine_lps(self._vol)

    @property
    def affine_ras(self) -> Floats:
        """(4, 4): voxel index (z, y, x, 1) to RAS mm, as NIfTI uses."""
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ self.affine_lps

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Mm between voxel centres along z, y, x, always positive."""
        z, y, x = np.abs(coordinates.steps(self._vol)).tolist()
        return z, y, x

    @property
    def direction(self) -> Floats:
        """(3, 3): columns are the LPS unit vectors of increasing z, y, x index."""
        signs = [_sign(self._vol, axis) for axis in AXES]
        return frame_of(self._vol).matrix * signs

    @property
    def orientation(self) -> str:
        """One letter for each of z, y, x: where in the patient its index increases to.

        Letters are L, R, P, A, S, I. An axial series is ``"SPL"``: slices go up, rows go back, columns go left.
        """
        direction = self.direction
        # Each axis of the patient once: of an oblique volume two columns may be nearest to the same one.
        axes = max(permutations(range(3)), key=lambda order: sum(abs(direction[order[k], k]) for k in range(3)))
        return "".join(("LR", "PA", "SI")[axis][int(direction[axis, k] < 0)] for k, axis in enumerate(axes))

    @property
    def frame_of_reference_uid(self) -> str:
        """FrameOfReferenceUID; one made up from the series' UID where the series names none."""
        return frame_of(self._vol).uid

    @property
    def series(self) -> str:
        """SeriesInstanceUID of the images that the values come from.

        Raises
        ------
        GeometryError
            The array comes from no series, or its attributes were dropped.
        """
        uid = self._vol.attrs.get("SeriesInstanceUID")
        if not uid:
            raise GeometryError("the array does not know its series: its attributes were dropped")
        return str(uid)

    @property
    def padding(self) -> xr.DataArray:
        """Which voxels are padding (Pixel Padding Value and Range Limit), booleans on the same grid.

        It is told of the values that the volume was opened with: after arithmetic on them it is none, or all the same.
        """
        return padding_of(self._vol)

    def suv(self, kind: str = "BW") -> xr.DataArray:
        """Scale PET to standardized uptake values by body weight, or by ``LBM``, ``LBMJANMA``, ``BSA``.

        See Also
        --------
        researchpacs.volume.suv.suv : all kinds, units and errors.
        """
        return suv(self._vol, kind)

    def adc(self) -> xr.DataArray:
        """Fit the apparent diffusion coefficient, mm2/s, over all images along ``b_value``.

        See Also
        --------
        researchpacs.volume.adc.adc : how, and errors.
        """
        return adc(self._vol)

    def real_world(self, label: str | None = None) -> xr.DataArray:
        """Map stored values (``rescale=False``) to a quantity with units, by Real World Value Mapping.

        See Also
        --------
        researchpacs.volume.real_world : parameters and errors.
        """
        return real_world(self._vol, label)

    def to_lps(self, index: ArrayLike) -> Floats:
        """Map voxel indices to patient coordinates (PS3.3 C.7.6.2.1.1).

        Parameters
        ----------
        index
            (..., 3), zero-based (z, y, x); fractions allowed.

        Returns
        -------
        points_lps
            (..., 3), (x, y, z) mm.
        """
        affine = self.affine_lps
        points: Floats = as_triples(index, "index", "zero-based z, y, x") @ affine[:3, :3].T + affine[:3, 3]
        return points

    def to_index(self, points_lps: ArrayLike) -> Floats:
        """Map patient coordinates to voxel indices, the inverse of `to_lps`.

        Parameters
        ----------
        points_lps
            (..., 3), (x, y, z) mm.

        Returns
        -------
        index
            (..., 3), zero-based (z, y, x), fractional; may lie outside of the volume.
        """
        affine = self.affine_lps
        offsets = as_triples(points_lps, "points_lps", "x, y, z in LPS mm") - affine[:3, 3]
        index: Floats = offsets @ np.linalg.inv(affine[:3, :3]).T
        return index

    def to_sitk(self) -> "SimpleITK.Image":
        """Copy to a SimpleITK image of the same geometry."""
        return convert.to_sitk(self._vol)

    def to_nifti(self, path: str | os.PathLike[str]) -> None:
        """Write a NIfTI file, ``.nii`` or ``.nii.gz``, with axes (x, y, z)."""
        convert.to_nifti(self._vol, path)

    def to_nrrd(self, path: str | os.PathLike[str]) -> None:
        """Write an NRRD file with axes (x, y, z), space left-posterior-superior."""
        convert.to_nrrd(self._vol, path)

    def to_zarr(self, path: str | os.PathLike[str], *, labels: bool | None = None) -> None:
        """Write OME-Zarr 0.5 with a pyramid; `labels` says whether values are names, so that none are averaged."""
        from researchpacs.volume.ome_zarr import to_zarr

        to_zarr(self._vol, path, labels=labels)

    def to_kerchunk(self, path: str | os.PathLike[str]) -> None:
        """Write where the frames of an uncompressed volume stand in their files, for ``reference://`` of fsspec."""
        from researchpacs.volume.references import to_kerchunk

        to_kerchunk(self._vol, path)

    def as_zarr_store(self) -> "VolumeStore":
        """Show the volume as a read-only Zarr store; nothing is copied, chunks are made when they are read.

        Raises
        ------
        MissingExtraError
            Zarr is not installed.
        """
        from researchpacs.volume._zarr_layout import require_zarr

        require_zarr("a Zarr store")
        from researchpacs.volume.zarr_store import VolumeStore

        return VolumeStore(self._vol)

    def __repr__(self) -> str:
        return f"<geometry of an array {dict(self._vol.sizes)}>"


def install() -> None:
    """Give every DataArray its ``dicom``.

    A plain property: a registered accessor is cached on the array and refers back to it, and the cycle would keep
    gigabytes until the garbage collector runs.
    """
    xr.DataArray.dicom = property(Dicom)  # type: ignore[attr-defined]


def _sign(vol: xr.DataArray, axis: str) -> float:
    index = vol.xindexes.get(axis)
    if isinstance(index, AxisIndex) and index.step is not None:  # also of one plane, which has no order to read
        return float(np.sign(index.step))
    values = vol[axis].values if axis in vol.coords else np.zeros(0)
    return -1.0 if np.ndim(values) and len(values) > 1 and values[-1] < values[0] else 1.0
