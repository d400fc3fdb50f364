"""Series come apart where their frames are of several kinds, and repeat along what headers say, never by guess."""

import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from researchpacs.dicom.frame_traits import Timing, Traits
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.dicom.stacks import geometry_of, split

LAYOUT = PixelLayout("1.2.840.10008.1.2.1", 4, 5, 1, 16, 12, 0, "MONOCHROME2", 0)
TRAITS, UNTIMED = Traits("1.2.3", "ORIGINAL\\PRIMARY"), Timing()
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


@dataclass(frozen=True)
class Frame:
    position: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None = AXIAL
    pixel_spacing: tuple[float, float] | None = (1.0, 1.0)
    layout: PixelLayout | None = LAYOUT
    sop_uid: str = ""
    index: int = 0
    instance_number: int | None = None
    traits: Traits = TRAITS
    timing: Timing = UNTIMED


def series(stacks, slices=4, *, traits=lambda t: {}, timing=lambda t: {}, number=lambda t, z, n: t * n + z + 1):
    """Repetitions of a stack, one file a slice."""
    return [
        Frame(
            (0.0, 0.0, 2.0 * z),
            sop_uid=f"1.{t}.{z}",
            instance_number=number(t, z, slices),
            traits=replace(TRAITS, **traits(t)),
            timing=Timing(**timing(t)),
        )
        for t in range(stacks)
        for z in range(slices)
    ]


def dimensions(frames):
    (part,) = split(frames)
    return {one.name: one.values for one in part.dimensions}


def test_one_stack_has_no_other_dimension():
    frames = series(1, 5)
    (part,) = split(frames)
    assert (part.dimensions, part.order, part.geometry.kind) == ((), (0, 1, 2, 3, 4), "uniform")
    assert geometry_of(frames, (part,)) is part.geometry


def test_echoes_are_told_by_their_times():
    assert dimensions(series(3, traits=lambda t: {"echo_time_ms": 30.0 - 10 * t})) == {"echo": (10.0, 20.0, 30.0)}


def test_times_count_from_the_first():
    found = dimensions(series(3, timing=lambda t: {"acquired_us": 10**15 + 2_500_000 * t}))
    assert found == {"time": (0.0, 2.5, 5.0)}


def test_cardiac_phases_are_told_by_trigger_times():
    assert dimensions(series(3, timing=lambda t: {"trigger_ms": 40.0 * t})) == {"phase": (0.0, 40.0, 80.0)}


def test_where_numbers_alone_order_frames_nothing_is_said_of_time():
    for number in (lambda t, z, n: t * n + z + 1, lambda t, z, n: z * 3 + t + 1):  # time by time, or slice by slice
        frames = series(3, number=number)
        (part,) = split(frames)
        assert dimensions(frames) == {"dynamic": (0.0, 1.0, 2.0)}
        assert [frames[k].sop_uid for k in part.order] == [f"1.{t}.{z}" for t in range(3) for z in range(4)]


def test_b_values_stand_as_they_were_acquired():
    b_values = (0.0, 1000.0, 1000.0, 500.0)
    gradients = [None, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    found = dimensions(series(4, traits=lambda t: {"b_value": b_values[t], "gradient": gradients[t]}))
    assert found == {"b_value": b_values}


def test_echoes_over_time_are_two_dimensions():
    frames = series(
        6,
        traits=lambda t: {"echo_time_ms": 10.0 * (t % 2 + 1)},
        timing=lambda t: {"acquired_us": 1_000_000 * (t // 2)},
    )
    (part,) = split(frames)
    assert dimensions(frames) == {"time": (0.0, 1.0, 2.0), "echo": (10.0, 20.0)}
    assert [frames[k].sop_uid for k in part.order[::4]] == [f"1.{t}.0" for t in range(6)]


def test_frames_that_nothing_tells_apart_are_duplicates():
    frames = series(2, number=lambda t, z, n: z + 1)
    (part,) = split(frames)
    assert part.geometry.reasons == ("duplicate_positions",)
    assert part.dimensions == ()


@pytest.mark.parametrize("timing", [lambda t: {"temporal_position": t + 1}, lambda t: {}])
def test_what_was_interrupted_is_a_volume_of_its_own(timing):
    frames = series(4, 5, timing=timing)[:-2]
    whole, rest = split(frames)
    assert [len(one.values) for one in whole.dimensions] == [3]
    assert [frames[k].sop_uid for k in rest.order] == ["1.3.0", "1.3.1", "1.3.2"]
    assert "multiple_stacks" in geometry_of(frames, (whole, rest)).reasons


@given(st.integers(0, 19))
def test_a_lost_frame_never_moves_others_to_another_time(lost):
    frames = series(4, 5)
    del frames[lost]
    for part in split(frames):
        slices = part.geometry.shape[0]
        for k, at in enumerate(part.order):
            same = {frames[other].sop_uid.split(".")[1] for other in part.order[k // slices * slices :][:slices]}
            assert same == {frames[at].sop_uid.split(".")[1]} or "duplicate_positions" in part.geometry.reasons


@pytest.mark.parametrize("other", [
    {"component": "PHASE"},
    {"frame_of_reference_uid": "1.2.4"},
    {"image_type": "DERIVED\\PRIMARY"},
    {"segment": 2},
])  # fmt: skip
def test_other_kinds_in_the_same_place_are_other_volumes(other):
    frames = series(2, traits=lambda t: other if t else {})
    parts = split(frames)
    assert [part.geometry.kind for part in parts] == ["uniform", "uniform"]
    assert geometry_of(frames, parts).reasons == ("multiple_stacks",)


def test_slices_that_are_regular_only_together_stay_together():
    frames = series(1, 6)
    odd = replace(frames[2].traits, image_type="DERIVED\\PRIMARY")
    (part,) = split([*frames[:2], replace(frames[2], traits=odd), *frames[3:]])
    assert part.geometry.kind == "uniform"
    interleaved = [replace(frame, traits=odd) if k % 2 else frame for k, frame in enumerate(frames)]
    assert [part.geometry.shape[0] for part in split(interleaved)] == [3, 3]


def test_end_to_end_slices_stay_together_but_for_pictures_computed_from_them():
    frames = series(1, 6)
    for image_type, parts in (("ORIGINAL\\PRIMARY\\AXIAL", 1), ("DERIVED\\SECONDARY", 2)):
        last = replace(TRAITS, image_type=image_type)
        assert len(split([*frames[:5], replace(frames[5], traits=last)])) == parts


def test_last_digits_that_vary_split_nothing():
    frames = [
        replace(frame, pixel_spacing=(1.0 + k * 1e-6, 1.0), orientation=(1.0, k * 1e-5, 0.0, -k * 1e-5, 1.0, 0.0))
        for k, frame in enumerate(series(3, timing=lambda t: {"acquired_us": t}))
    ]
    (part,) = split(frames)
    assert [one.name for one in part.dimensions] == ["time"]
    resized = [replace(frame, pixel_spacing=(1.01, 1.0)) for frame in frames[:4]]
    assert len(split([*frames[4:], *resized])) == 2


def test_planes_turned_against_each_other_come_apart():
    localizer = [
        *series(1, 3),
        *(Frame((5.0 * k, 0.0, 0.0), SAGITTAL, sop_uid=f"2.{k}", instance_number=10 + k) for k in range(3)),
    ]
    parts = split(localizer)
    assert [part.geometry.kind for part in parts] == ["uniform", "uniform"]
    assert geometry_of(localizer, parts).reasons == ("multiple_stacks", "mixed_orientation")


@given(st.permutations(range(24)))
def test_the_order_in_which_frames_come_never_matters(order):
    frames = series(3, 8, timing=lambda t: {"acquired_us": 10**6 * t})
    shuffled = [frames[k] for k in order]
    (part,) = split(shuffled)
    assert [shuffled[k].sop_uid for k in part.order] == [frame.sop_uid for frame in frames]


CLAIMS = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-10, 10)


@given(
    st.lists(
        st.builds(
            Frame,
            position=st.none() | st.tuples(CLAIMS, CLAIMS, CLAIMS),
            orientation=st.none() | st.just(AXIAL) | st.tuples(*[CLAIMS] * 6),
            pixel_spacing=st.none() | st.tuples(CLAIMS, CLAIMS),
            layout=st.sampled_from([None, LAYOUT, replace(LAYOUT, rows=0)]),
            instance_number=st.none() | st.integers(-(2**31), 2**31),
            traits=st.builds(Traits, echo_time_ms=st.none() | st.floats(0, 5), segment=st.none() | st.integers(0, 2)),
            timing=st.builds(Timing, temporal_position=st.none() | st.integers(0, 3)),
        ),
        max_size=12,
    )
)
def test_whatever_headers_claim_every_frame_is_in_one_part(frames):
    parts = split(frames)
    assert sorted(k for part in parts for k in part.order) == list(range(len(frames)))
    assert all(part.geometry.is_volume or part.geometry.reasons for part in parts)
    geometry_of(frames, parts)


def test_time_grows_linearly():
    def seconds(stacks):
        frames = series(stacks, 100, timing=lambda t: {"acquired_us": 2_000_000 * t})
        start = time.process_time()
        assert len(split(frames)) == 1
        return time.process_time() - start

    seconds(2)
    small, large = min(seconds(20) for _ in range(3)), seconds(200)
    assert large < 40 * small + 0.5


def test_a_tilt_over_time_keeps_its_shear():
    frames = [replace(frame, position=(0.0, 0.3 * frame.position[2], frame.position[2])) for frame in series(3)]
    (part,) = split(frames)
    assert part.geometry.reasons == ("gantry_tilt",)
    np.testing.assert_allclose(np.array(part.geometry.affine_lps)[:3, 0], [0, 0.6, 2])
