"""What an archive keeps of frames gives back exactly what the header said."""

import json
import math

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from researchpacs.dicom.frame_record import Record, pack, unpack
from researchpacs.dicom.frame_traits import Timing, Traits
from researchpacs.dicom.frames import FrameRow, frames_of
from researchpacs.dicom.pixels import PixelLayout, layout_of

LAYOUT = PixelLayout("1.2.840.10008.1.2.1", 4, 5, 1, 16, 12, 0, "MONOCHROME2", 0, number_of_frames=3)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
FRAMES = st.builds(
    FrameRow,
    index=st.just(0),
    position=st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS),
    orientation=st.none() | st.tuples(*[NUMBERS] * 6),
    pixel_spacing=st.none() | st.tuples(NUMBERS, NUMBERS),
    rescale_slope=st.floats(),
    rescale_intercept=st.floats(),
    dimension_indices=st.none() | st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=3).map(tuple),
    byte_offset=st.none() | st.integers(0, 2**62),
    byte_length=st.none() | st.integers(0, 2**62),
    layout=st.just(LAYOUT),
    traits=st.builds(
        Traits,
        frame_of_reference_uid=st.sampled_from(["", "1.2.3"]),
        image_type=st.text(max_size=5),
        echo_time_ms=st.none() | NUMBERS,
        gradient=st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS),
        segment=st.none() | st.integers(0, 2**31),
    ),
    timing=st.builds(
        Timing,
        temporal_position=st.none() | st.integers(-(2**31), 2**31),
        acquired_us=st.none() | st.integers(0, 2**52),
        trigger_ms=st.none() | NUMBERS,
    ),
)


@given(st.lists(FRAMES, max_size=5), st.none() | st.integers(-(2**31), 2**31 - 1))
def test_any_frames_come_back_as_they_were(frames, number):
    frames = [FrameRow(k, *(getattr(u, name) for name in FrameRow.__slots__[1:])) for k, u in enumerate(frames)]

    found_number, found = unpack(pack(frames, number))

    assert repr(found) == repr(frames)  # NaN is no equal of itself, but of its text
    assert found_number == (number if frames else None)


def test_real_headers_come_back_as_they_were(real_data):
    seen = 0
    for path in [*(real_data / "mr_enhanced").rglob("*.dcm"), *(real_data / "ct_head_phantom").rglob("*")][:40]:
        if not path.is_file():
            continue
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        layout = layout_of(ds, ds.file_meta.TransferSyntaxUID)
        count = layout.number_of_frames
        frames = frames_of(ds, layout, [(2000 + 512 * k, 512) for k in range(count)])

        assert unpack(pack(frames, int(ds.InstanceNumber))) == (ds.InstanceNumber, frames)
        seen += 1
    assert seen > 10


def test_neighbours_share_a_form_and_have_few_bytes_of_their_own():
    frames = [
        FrameRow(0, (0, 0, float(z)), (1, 0, 0, 0, 1, 0), (1, 1), 1.0 + z, math.nan, None, 500 + z, 40, LAYOUT)
        for z in range(9)
    ]
    records = [pack([frame], 7) for frame in frames]

    assert len({record.form for record in records}) == 1
    assert {len(record.places) for record in records} == {64}


@pytest.mark.parametrize("count", [20_000])
def test_a_large_multi_frame_image_stays_small(count):
    frames = [
        FrameRow(k, None, (1, 0, 0, 0, 1, 0), (1, 1), 1.0, 0.0, (1, k + 1), 500 + 40 * k, 40, LAYOUT)
        for k in range(count)
    ]

    record = pack(frames, 1)

    assert len(record.places) < 0.2 * count
    assert unpack(record) == (1, frames)


def test_what_an_older_version_kept_is_told_from_what_is_known_today():
    record = pack([FrameRow(0, (0, 0, 1), (1, 0, 0, 0, 1, 0), (1, 1), 1.0, 0.0, None, 500, 40, LAYOUT)], 7)
    form = json.loads(record.form)
    older = {key: value for key, value in form.items() if key not in ("version", "traits")}
    older["same"] = {key: value for key, value in form["same"].items() if key not in ("traits", *Timing.__slots__)}

    old = Record(json.dumps(older), record.places)

    assert record.is_complete
    assert not old.is_complete
    assert unpack(old) == unpack(record)
