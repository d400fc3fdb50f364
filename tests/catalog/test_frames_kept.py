"""The archive keeps what is known of frames: as the catalog has it, and never later than the archive itself."""

import pytest

from researchpacs.catalog._frames import frames_of_series
from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.testing import small_ct

SERIES = str(small_ct(1).SeriesInstanceUID)


def by_place(frames):
    return sorted(frames, key=lambda frame: (frame.sop_uid, frame.index))


def test_frames_that_were_kept_are_those_of_the_catalog_for_every_real_series(real):
    uids = [uid for (uid,) in real.catalog.sql("select SeriesInstanceUID from series").fetchall()]
    for uid in uids:
        real.catalog.frames(uid)  # whoever asks first has them kept
        kept = real.archive.frames(uid)
        asked = [frame for frame, _ in frames_of_series(real.catalog._reader(), uid)]

        assert kept is not None
        # NaN, of a rescale that is not known, is no equal of itself, but of its text
        assert [repr(one) for one in by_place(kept)] == [repr(one) for one in by_place(asked)]
    assert len(uids) > 20


def test_what_was_just_stored_is_there_and_what_was_deleted_is_not(filled):
    filled.take([small_ct(1), small_ct(2)])
    assert len(filled.catalog.frames(SERIES)) == 2
    assert len(filled.archive.frames(SERIES)) == 2

    filled.take(small_ct(3))
    assert {frame.instance_number for frame in filled.catalog.frames(SERIES)} == {1, 2, 3}

    filled.archive.delete("instance", small_ct(2).SOPInstanceUID)
    assert {frame.instance_number for frame in filled.catalog.frames(SERIES)} == {1, 3}

    filled.archive.delete("series", SERIES)
    with pytest.raises(NotFoundError):
        filled.catalog.frames(SERIES)


def test_a_series_uid_that_two_patients_share_names_neither(filled):
    filled.take([small_ct(1), small_ct(2, PatientID="another", SOPInstanceUID="1.2.3.99")])

    with pytest.raises(InvalidInputError, match="share the SeriesInstanceUID"):
        filled.catalog.frames(SERIES)
