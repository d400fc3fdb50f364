"""However slices are turned, mirrored, ordered and repeated, a voxel is where the header of its frame says.

Truth is worked out from the header of each file by the equation of the Standard (PS3.3 C.7.6.2.1.1) alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from researchpacs.dicom.frame_traits import Timing, Traits
from researchpacs.dicom.geometry import REASONS
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.errors import GeometryError
from researchpacs.model import Frame
from researchpacs.volume import as_volume, plan
from researchpacs.volume.plan import plans

ROWS, COLUMNS = 4, 5
LAYOUT = PixelLayout("1.2.840.10008.1.2.1", ROWS, COLUMNS, 1, 16, 12, 0, "MONOCHROME2", 0)

rotations = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)
spacings = st.tuples(st.floats(0.2, 8), st.floats(0.1, 5), st.floats(0.1, 5))
origins = st.tuples(*[st.floats(-500, 500)] * 3)


@dataclass(frozen=True)
class Series:
    """Frames that were never written."""

    given: tuple[Frame, ...]
    uid: str = "1.2.3"

    def attributes(self) -> Mapping[str, object]:
        return {"Modality": "MR", "StudyInstanceUID": "1.2"}

    def frames(self) -> tuple[Frame, ...]:
        return self.given

    def locate(self, sop_uids):
        raise AssertionError("no file is opened to plan")


def slices(q, spacing, origin, count, *, backwards=False, digits=9, stacks=1, shear=0.0):
    """Frames as a scanner writes them: rounded to so many digits, numbered along the stack or against it."""
    cosines = Rotation.from_quat(q).as_matrix()
    orientation = tuple(cosines[:, :2].T.ravel().round(digits).tolist())
    step = cosines[:, 2] * spacing[0] + cosines[:, 1] * shear * spacing[0]
    frames = []
    for t in range(stacks):
        for k in range(count):
            at = count - 1 - k if backwards else k
            frames.append(
                Frame(
                    sop_uid=f"1.2.{t}.{k}",
                    index=0,
                    instance_number=t * count + k + 1,
                    position=tuple((np.array(origin) + at * step).round(digits).tolist()),
                    orientation=orientation,
                    pixel_spacing=spacing[1:],
                    rescale_slope=1.0,
                    rescale_intercept=0.0,
                    byte_offset=0,
                    byte_length=ROWS * COLUMNS * 2,
                    layout=LAYOUT,
                    traits=Traits("1.2.3.4"),
                    timing=Timing(acquired_us=10**15 + 1_500_000 * t),
                )
            )
    return frames


def by_header(frame, row, column):
    """The place of a pixel, LPS mm, by the equation of the Standard."""
    right, down = np.array(frame.orientation[:3]), np.array(frame.orientation[3:])
    return np.array(frame.position) + right * frame.pixel_spacing[1] * column + down * frame.pixel_spacing[0] * row


def opened(planned):
    """A volume whose values number its voxels."""
    data = np.arange(np.prod(planned.shape)).reshape(planned.shape)
    return as_volume(data, planned.affine_lps, planned.frame_of_reference_uid, leading=planned.dimensions)


@settings(deadline=None, max_examples=80)
@given(rotations, spacings, origins, st.integers(2, 12), st.booleans(), st.randoms(use_true_random=False))
def test_every_voxel_is_where_its_header_says(q, spacing, origin, count, backwards, random):
    frames = slices(q, spacing, origin, count, backwards=backwards)
    planned = plan(Series(tuple(random.sample(frames, count))))
    vol = opened(planned)
    for k in (0, count // 2, count - 1):
        for row, column in ((0, 0), (ROWS - 1, 0), (0, COLUMNS - 1)):
            truth = by_header(planned.frames[k], row, column)
            np.testing.assert_allclose(vol.dicom.to_lps((k, row, column)), truth, atol=1e-3)
            np.testing.assert_allclose(vol.dicom.to_index(truth), (k, row, column), atol=1e-3 / 0.1)
    # Slices ascend along row x column cosines, whichever way they were numbered.
    normal = np.cross(planned.frames[0].orientation[:3], planned.frames[0].orientation[3:])
    assert (np.diff([np.dot(frame.position, normal) for frame in planned.frames]) > 0).all()


cuts = st.sampled_from([slice(None), slice(None, None, -1), slice(1, None), slice(None, None, 2), slice(-2, None)])


@settings(deadline=None, max_examples=80)
@given(rotations, spacings, origins, st.tuples(cuts, cuts, cuts), st.tuples(cuts, cuts, cuts))
def test_flips_strides_and_crops_leave_every_voxel_in_its_place(q, spacing, origin, first, second):
    whole = opened(plan(Series(tuple(slices(q, spacing, origin, 9)))))
    cut = whole.isel(dict(zip("zyx", first, strict=True)))
    cut = cut.isel(dict(zip("zyx", second, strict=True)))
    assume(all(size > 1 for size in cut.shape))
    corners = [(0, 0, 0), tuple(size - 1 for size in cut.shape)]
    for corner in corners:
        at = np.argwhere(whole.values == cut.values[corner])[0]
        np.testing.assert_allclose(cut.dicom.to_lps(corner), whole.dicom.to_lps(at), atol=1e-3)


@settings(deadline=None, max_examples=40)
@given(rotations, spacings, origins, st.integers(2, 6), st.integers(2, 5), st.randoms(use_true_random=False))
def test_repetitions_are_told_apart_in_any_order(q, spacing, origin, count, stacks, random):
    frames = slices(q, spacing, origin, count, stacks=stacks)
    planned = plan(Series(tuple(random.sample(frames, len(frames)))))
    assert planned.shape == (stacks, count, ROWS, COLUMNS)
    assert [frame.sop_uid for frame in planned.frames] == [frame.sop_uid for frame in frames]
    np.testing.assert_allclose(planned.dimensions[0].values, 1.5 * np.arange(stacks))


@settings(deadline=None, max_examples=40)
@given(rotations, spacings, origins, st.floats(0.01, 0.6))
def test_a_tilt_is_never_taken_for_upright(q, spacing, origin, shear):
    frames = tuple(slices(q, spacing, origin, 6, shear=shear))
    with pytest.raises(GeometryError) as caught:
        plan(Series(frames))
    assert caught.value.reasons == ("gantry_tilt",)
    affine = np.array(plan(Series(frames), on_irregular="keep").affine_lps)
    for k, frame in enumerate(frames):
        np.testing.assert_allclose((affine @ [k, 0, 0, 1])[:3], frame.position, atol=1e-5)


BROKEN = {
    "position": st.sampled_from([
        None, (np.nan, 0.0, 0.0), (0.0, np.inf, 0.0), (0.0, 0.0), (1e30, 0.0, 0.0), (0.0, 0.0, -1e300),
    ]),
    "orientation": st.sampled_from([
        None, (0.0,) * 6, (1.0, 0.0, 0.0, 1.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.5, 0.5, 0.0), (np.nan,) * 6,
        (1.0, 0.0, 0.0, 0.0, 1.01, 0.0), (2.0, 0.0, 0.0, 0.0, 2.0, 0.0),
    ]),
    "pixel_spacing": st.sampled_from([
        None, (0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (np.nan, 1.0), (np.inf, 1.0), (1e-9, 1.0),
    ]),
}  # fmt: skip


@settings(deadline=None, max_examples=120)
@given(st.data(), rotations, st.integers(2, 6))
def test_a_header_that_cannot_be_is_one_error_with_reasons_never_a_volume(data, q, count):
    frames = slices(q, (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), count)
    for at in data.draw(st.sets(st.integers(0, count - 1), min_size=1)):
        field = data.draw(st.sampled_from(sorted(BROKEN)))
        frames[at] = replace(frames[at], **{field: data.draw(BROKEN[field])})
    for planning in (plan, plans):
        with pytest.raises(GeometryError) as caught:
            planning(Series(tuple(frames)))
        assert planning is plans or "no_position" in caught.value.reasons
        assert caught.value.reasons
        assert set(caught.value.reasons) <= set(REASONS)
        assert caught.value.series_uid == "1.2.3"


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(4, 10))
def test_one_slice_out_of_its_place_is_never_stacked_over(data, count):
    frames = slices((0, 0, 0, 1), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), count)
    at = data.draw(st.integers(1, count - 2))
    moved = data.draw(st.floats(0.15, 0.9))
    x, y, z = frames[at].position
    frames[at] = replace(frames[at], position=(x, y, z + moved))
    with pytest.raises(GeometryError) as caught:
        plan(Series(tuple(frames)))
    assert caught.value.reasons == ("nonuniform_spacing",)
    lost = [frame for k, frame in enumerate(slices((0, 0, 0, 1), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), count)) if k != at]
    if len(lost) > 3:
        with pytest.raises(GeometryError) as caught:
            plan(Series(tuple(lost)))
        assert caught.value.reasons == ("missing_slices",)
