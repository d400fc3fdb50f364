"""The search for a registration: ITK's, over transforms that move points of the fixed volume into the moving one."""

from typing import Any

import numpy as np
import SimpleITK
import xarray as xr
from numpy.typing import NDArray

from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.reconstruct._deformation import Deformation
from researchpacs.reconstruct.grid import leading_of
from researchpacs.volume import Dicom
from researchpacs.volume.padding import padding_of

__all__ = ["aligned"]

Floats = NDArray[np.floating[Any]]

BINS = 50
SAMPLES, SPLINE_SAMPLES = 60_000, 15_000
"""Voxels that a comparison looks at, on each level; of splines each costs more, and there are many more are tried."""
SEED = 20_250_612
LEVELS = ((4, 4.0), (2, 2.0), (1, 0.0))
"""Shrink factor, and sigma of the smoothing in mm."""
CONTROL_MM = 40.0


def aligned(moving: xr.DataArray, fixed: xr.DataArray, kind: str) -> tuple[Floats, Deformation | None, float]:
    """Search.

    Returns
    -------
    fixed_to_moving, deformation, similarity
        (4, 4) LPS mm, of splines what follows them; the splines; mutual information at the end.
    """
    images = [_image(one) for one in (fixed, moving)]
    same = Dicom(moving).frame_of_reference_uid == Dicom(fixed).frame_of_reference_uid
    rigid = _start(images[0][0], images[1][0], same=same)
    similarity = _search(images, rigid)
    matrix = _matrix(rigid)
    if kind == "rigid":
        return matrix, None, similarity
    affine = SimpleITK.AffineTransform(3)
    affine.SetCenter(rigid.GetCenter())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    similarity = _search(images, affine)
    matrix = _matrix(affine)
    if kind == "affine":
        return matrix, None, similarity
    grid = images[0][0]
    extent = [n * s for n, s in zip(grid.GetSize(), grid.GetSpacing(), strict=True)]
    mesh = [max(1, round(mm / CONTROL_MM)) for mm in extent]
    splines = SimpleITK.BSplineTransformInitializer(grid, mesh, order=3)
    similarity = _search(images, splines, after=affine)
    found = Deformation(np.array(splines.GetParameters()), np.array(splines.GetFixedParameters()), np.eye(4))
    return matrix, found, similarity


def _image(vol: xr.DataArray) -> tuple[SimpleITK.Image, SimpleITK.Image | None]:
    """The volume in floating point, and where it is no padding."""
    if leading_of(vol):
        raise GeometryError(f"a volume to register has dimensions z, y, x; found {tuple(vol.dims)}")
    affine = Dicom(vol).affine_lps
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-4:
        raise GeometryError("the volume is sheared; open it with on_irregular='repair', or resample it first")
    vol = vol.compute()
    mask = None
    values = vol.astype(np.float32)
    if "padding" in vol.attrs:
        seen = ~padding_of(vol)
        mask = Dicom(seen.astype(np.uint8)).to_sitk()
        values = values.where(seen, float(values.where(seen).min()))
    if not np.isfinite(values.values).all():
        raise InvalidInputError("the volume holds values that are not finite numbers; fill them first, as with fillna")
    if float(values.min()) == float(values.max()):
        raise InvalidInputError("the volume has one value throughout, so nothing tells where it lies")
    return Dicom(values).to_sitk(), mask


def _start(fixed: SimpleITK.Image, moving: SimpleITK.Image, *, same: bool) -> SimpleITK.Euler3DTransform:
    middles = [
        np.array(one.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in one.GetSize()]))
        for one in (fixed, moving)
    ]
    start = SimpleITK.Euler3DTransform()
    start.SetCenter(middles[0].tolist())
    if not same:
        start.SetTranslation((middles[1] - middles[0]).tolist())
    return start


def _search(images: list[Any], transform: SimpleITK.Transform, after: SimpleITK.Transform | None = None) -> float:
    """Move `transform` to where mutual information is highest; give that."""
    (fixed, fixed_mask), (moving, moving_mask) = images
    search = SimpleITK.ImageRegistrationMethod()
    search.SetMetricAsMattesMutualInformation(BINS)
    if fixed_mask is not None:
        search.SetMetricFixedMask(fixed_mask)
    if moving_mask is not None:
        search.SetMetricMovingMask(moving_mask)
    search.SetInterpolator(SimpleITK.sitkLinear)
    bends = isinstance(transform, SimpleITK.BSplineTransform)
    # Splines of 40 mm follow nothing that voxels of half the size do not show.
    levels = [one for one in LEVELS if min(fixed.GetSize()) >= 8 * one[0] and not (bends and one[0] == 1)] or LEVELS[
        -1:
    ]
    search.SetShrinkFactorsPerLevel([factor for factor, _ in levels])
    search.SetSmoothingSigmasPerLevel([sigma for _, sigma in levels])
    search.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    voxels = [max(1.0, fixed.GetNumberOfPixels() / factor**3) for factor, _ in levels]
    samples = SPLINE_SAMPLES if bends else SAMPLES
    search.SetMetricSamplingStrategy(search.RANDOM)
    search.SetMetricSamplingPercentagePerLevel([min(1.0, samples / count) for count in voxels], SEED)
    if bends:
        search.SetOptimizerAsLBFGSB(
            gradientConvergenceTolerance=1e-5, numberOfIterations=20, maximumNumberOfCorrections=5
        )
    else:
        search.SetOptimizerAsRegularStepGradientDescent(
            learningRate=2.0, minStep=1e-3, numberOfIterations=200, relaxationFactor=0.6
        )
        search.SetOptimizerScalesFromPhysicalShift()
    if after is not None:
        search.SetMovingInitialTransform(after)
    search.SetInitialTransform(transform, inPlace=True)
    search.Execute(fixed, moving)
    return -float(search.GetMetricValue())


def _matrix(transform: Any) -> Floats:
    """(4, 4) of a transform that turns around a centre."""
    turn = np.reshape(transform.GetMatrix(), (3, 3))
    center = np.array(transform.GetCenter())
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = np.array(transform.GetTranslation()) + center - turn @ center
    return matrix
