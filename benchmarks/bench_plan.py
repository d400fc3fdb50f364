"""Plan series of many instances: from the records that a ledger keeps to frozen plans, without opening a file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version

from _measure import Clock, alternately, clock
from _row import Row

SLICES = 40
SMALL, LARGE = 20_000, 200_000


def rows() -> Iterable[Row]:
    versions = {name: version(name) for name in ("researchpacs", "numpy")}
    (small,) = alternately(plan_series, given=json.dumps(SMALL))
    (large,) = alternately(plan_series, given=json.dumps(LARGE))
    yield Row(
        f"plan a 4D series of {SMALL:,} instances, {SLICES} slices at a time", small.seconds, "", None, "< 1 s",
        small.seconds < 1, _mb(small.peak_bytes), small.rounds, versions,
    )  # fmt: skip
    yield Row(
        f"the same of {LARGE:,} instances", large.seconds, f"ten times the time of {SMALL:,}", 10 * small.seconds,
        "grows linearly: ratio >= 0.75", 10 * small.seconds / large.seconds >= 0.75, _mb(large.peak_bytes),
        large.rounds, versions, (large.slowest, 10 * small.slowest),
    )  # fmt: skip


def plan_series(given: str) -> Clock:
    from researchpacs.volume import plan

    plan(Recorded(2 * SLICES))
    series = Recorded(json.loads(given))
    with clock() as found:
        planned = plan(series)
    assert planned.shape == (json.loads(given) // SLICES, SLICES, 64, 64)
    assert [dimension.name for dimension in planned.dimensions] == ["time"]
    return found


class Recorded:
    """A series as the ledger has it: a record for each instance, which is unpacked when frames are asked for."""

    uid = "1.2.3"

    def __init__(self, count: int) -> None:
        from researchpacs.dicom.frame_record import pack
        from researchpacs.dicom.frame_traits import Timing, Traits
        from researchpacs.dicom.frames import FrameRow
        from researchpacs.dicom.pixels import PixelLayout

        layout = PixelLayout("1.2.840.10008.1.2.1", 64, 64, 1, 16, 12, 0, "MONOCHROME2", 0)
        traits = Traits("1.2.3.4", "ORIGINAL\\PRIMARY\\M\\ND")
        self._records = []
        for number in range(count):
            time, k = divmod(number, SLICES)
            timing = Timing(acquisition_number=time + 1, acquired_us=1_700_000_000_000_000 + 2_000_000 * time)
            frame = FrameRow(
                0, (-100.0, -100.0, 3.0 * k), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (3.0, 3.0), 1.0, 0.0, None, 2000, 8192,
                layout, traits, timing,
            )  # fmt: skip
            self._records.append((f"1.2.3.{number}", pack([frame], number + 1)))

    def attributes(self) -> Mapping[str, object]:
        return {"Modality": "MR", "StudyInstanceUID": "1.2"}

    def frames(self) -> Sequence[object]:
        from researchpacs.dicom.frame_record import unpack
        from researchpacs.model import Frame

        found = []
        for uid, record in self._records:
            number, unpacked = unpack(record)
            found += [
                Frame(
                    uid, row.index, number, row.position, row.orientation, row.pixel_spacing, row.rescale_slope,
                    row.rescale_intercept, row.byte_offset, row.byte_length, row.layout, row.traits, row.timing,
                )
                for row in unpacked
            ]  # fmt: skip
        return found

    def locate(self, sop_uids: Sequence[str]) -> Sequence[object]:
        raise NotImplementedError("no file is opened to plan")


def _mb(peak_bytes: int | None) -> float | None:
    return None if peak_bytes is None else peak_bytes / 1e6
