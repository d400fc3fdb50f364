"""What vtk draws: one volume, one light at the onlooker, parallel projection, by rays cast on the processor.

The rays are cast without the graphics card, so that a volume gives the same picture wherever it is rendered; OpenGL
only lays the result into the window.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PRESETS", "WINDOWS", "picture", "probe"]

Floats = NDArray[np.floating[Any]]
WINDOWS = ("vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow", "vtkRenderWindow")
"""OpenGL by EGL, on a graphics card or in Mesa's software; by OSMesa; as the platform has it (macOS, Windows)."""

Stop = tuple[float, float, float, float, float]

PRESETS: dict[str, tuple[Stop, ...]] = {
    "bone": (
        (130, 0.60, 0.20, 0.10, 0.0), (250, 0.80, 0.55, 0.40, 0.15), (500, 0.95, 0.87, 0.73, 0.8),
        (1500, 1.0, 1.0, 0.96, 0.95),
    ),
    "lung": (
        (-780, 0.35, 0.45, 0.80, 0.0), (-650, 0.55, 0.65, 0.95, 0.10), (-450, 0.95, 0.70, 0.65, 0.22),
        (-300, 1.0, 0.55, 0.45, 0.0), (3071, 1.0, 0.55, 0.45, 0.0),
    ),
    "vessel": (
        (110, 0.45, 0.05, 0.05, 0.0), (170, 0.75, 0.15, 0.10, 0.25), (300, 0.95, 0.45, 0.30, 0.7),
        (600, 1.0, 0.9, 0.8, 0.85),
    ),
    "skin": (
        (-500, 0.50, 0.30, 0.25, 0.0), (-300, 0.88, 0.66, 0.55, 0.6), (100, 0.95, 0.78, 0.67, 0.95),
        (1000, 1.0, 0.95, 0.9, 1.0),
    ),
}  # fmt: skip
"""HU, red, green, blue, opacity over `UNIT_MM`; straight between them, and as the first and last beyond."""
UNIT_MM = 1.0


def picture(
    values: NDArray[np.int16], affine_lps: Floats, directions: Floats, preset: str, *, size: tuple[int, int],
    background: tuple[float, float, float], window_name: str,
) -> NDArray[np.uint8]:  # fmt: skip
    """Draw a volume.

    Parameters
    ----------
    values
        (z, y, x) HU.
    affine_lps
        (4, 4) from index (z, y, x, 1).
    directions
        (3, 3): columns are the LPS directions of the look, down and to the right in the picture.
    size
        Width, height.
    window_name
        Out of `WINDOWS`: what `researchpacs.reconstruct._renderer` found to work.

    Returns
    -------
    pixels
        (height, width, 3).
    """
    import vtkmodules.vtkRenderingOpenGL2
    import vtkmodules.vtkRenderingVolumeOpenGL2
    from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow

    opened = getattr(vtkmodules.vtkRenderingOpenGL2, window_name, vtkRenderWindow)
    renderer, window = vtkRenderer(), opened()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetSize(*size)
    window.AddRenderer(renderer)
    renderer.SetBackground(*background)
    renderer.AddVolume(_actor(values, affine_lps, preset))
    _aim(renderer, values.shape, affine_lps, directions, size)
    window.Render()
    pixels = _pixels(window)
    window.Finalize()
    return pixels


def probe(window_name: str) -> None:
    """Draw a cube in a window of this name, and say ``rendered`` where it can be seen."""
    values = np.full((8, 8, 8), -1000, np.int16)
    values[2:6, 2:6, 2:6] = 1000
    directions = np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]])
    pixels = picture(
        values,
        np.diag([1.0, 1, 1, 1])[[2, 1, 0, 3]],
        directions,
        "bone",
        size=(32, 32),
        background=(0, 0, 0),
        window_name=window_name,
    )
    if pixels[16, 16].max() > 40 and not pixels[0, 0].any():
        print("rendered")  # noqa: T201 - the process that asked reads it


def _actor(values: NDArray[np.int16], affine_lps: Floats, preset: str) -> Any:
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkCommonMath import vtkMatrix4x4
    from vtkmodules.vtkRenderingCore import vtkVolume
    from vtkmodules.vtkRenderingVolume import vtkFixedPointVolumeRayCastMapper

    image = vtkImageData()
    image.SetDimensions(*values.shape[::-1])
    spacing = np.linalg.norm(affine_lps[:3, :3], axis=0)
    image.SetSpacing(*spacing[::-1].tolist())
    # vtk casts unsigned values exactly; the tables below are shifted as much.
    shifted = (values.astype(np.int32) - OFFSET).astype(np.uint16)
    image.GetPointData().SetScalars(numpy_to_vtk(shifted.ravel(), deep=True))
    mapper = vtkFixedPointVolumeRayCastMapper()
    mapper.SetInputData(image)
    finest = float(spacing.min())
    mapper.SetAutoAdjustSampleDistances(0)
    mapper.SetSampleDistance(finest / 3)  # further apart, smooth surfaces show rings
    mapper.SetImageSampleDistance(1.0)
    actor = vtkVolume()
    actor.SetMapper(mapper)
    actor.SetProperty(_look_of(preset))
    place = vtkMatrix4x4()
    axes = affine_lps[:3, [2, 1, 0]] / spacing[::-1]
    for row in range(3):
        for column in range(3):
            place.SetElement(row, column, float(axes[row, column]))
        place.SetElement(row, 3, float(affine_lps[row, 3]))
    actor.SetUserMatrix(place)
    return actor


OFFSET = -1024


def _look_of(preset: str) -> Any:
    from vtkmodules.vtkCommonDataModel import vtkPiecewiseFunction
    from vtkmodules.vtkRenderingCore import vtkColorTransferFunction, vtkVolumeProperty

    colours, opacity = vtkColorTransferFunction(), vtkPiecewiseFunction()
    for hu, red, green, blue, opaque in PRESETS[preset]:
        colours.AddRGBPoint(hu - OFFSET, red, green, blue)
        opacity.AddPoint(hu - OFFSET, opaque)
    look = vtkVolumeProperty()
    look.SetColor(colours)
    look.SetScalarOpacity(opacity)
    look.SetScalarOpacityUnitDistance(UNIT_MM)
    look.SetInterpolationTypeToLinear()
    look.ShadeOn()
    look.SetAmbient(0.25)
    look.SetDiffuse(0.75)
    look.SetSpecular(0.15)
    look.SetSpecularPower(12)
    return look


def _aim(renderer: Any, shape: tuple[int, ...], affine_lps: Floats, directions: Floats, size: tuple[int, int]) -> None:
    """Look at the middle, so that all corners are in the picture."""
    ends = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in shape], indexing="ij")).reshape(3, -1).T
    corners = ends @ affine_lps[:3, :3].T + affine_lps[:3, 3]
    middle = corners.mean(axis=0)
    reach = np.abs((corners - middle) @ directions).max(axis=0)
    camera = renderer.GetActiveCamera()
    camera.ParallelProjectionOn()
    away = 2 * float(reach[0]) + 100
    camera.SetFocalPoint(*middle.tolist())
    camera.SetPosition(*(middle - directions[:, 0] * away).tolist())
    camera.SetViewUp(*(-directions[:, 1]).tolist())
    # Half of the height in mm.
    camera.SetParallelScale(float(max(reach[1], reach[2] * size[1] / size[0])) * 1.02)
    renderer.ResetCameraClippingRange()


def _pixels(window: Any) -> NDArray[np.uint8]:
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkRenderingCore import vtkWindowToImageFilter

    grab = vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.Update()
    image = grab.GetOutput()
    width, height, _ = image.GetDimensions()
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)
    # vtk counts rows from below.
    return np.ascontiguousarray(pixels[::-1, :, :3])
