"""Every attribute of every real file is found in SQL: value for value as pydicom reads it, or told in `issues`."""

import hashlib
import json
import logging
import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import DataElement, Dataset
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import RawDataElement
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from .conftest import Filled

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of values that break their VR

THEIRS = Path(pydicom.__file__).parent / "data" / "test_files"
PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
FEW = 10
"""Files of each folder that CI looks at; a soak looks at all."""
LONGEST_HEX = 64


def files(real_data: Path) -> list[Path]:
    """All files of the real data and of pydicom's own tests, references beside them left out."""
    found = [*real_data.rglob("*"), *THEIRS.rglob("*")]
    return sorted(path for path in found if path.is_file() and "reference" not in path.parts)


@pytest.fixture(scope="module", params=["few", pytest.param("all", marks=pytest.mark.soak)])
def everything(
    request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Filled]:
    chosen = files(real_data)
    if request.param == "few":
        by_folder: dict[Path, list[Path]] = defaultdict(list)
        for path in chosen:
            by_folder[path.parent].append(path)
        chosen = [
            path for folder, some in by_folder.items() for path in (some if folder.name == "charset" else some[:FEW])
        ]
    links = tmp_path_factory.mktemp("every") / "files"
    links.mkdir()
    for number, path in enumerate(chosen):
        (links / f"{number:05}").symlink_to(path)
    made = Filled(links.parent / "home")
    made.take(links)
    yield made
    made.close()


def test_every_attribute_of_every_file_is_in_tags_as_pydicom_reads_it(everything: Filled) -> None:
    rows = everything.catalog.sql("select instance_key, tags from instances").fetchall()
    told = defaultdict(set)
    for key, keyword in everything.catalog.sql("select instance_key, keyword from issues").fetchall():
        told[key].add(keyword)
    assert len(rows) > 150
    seen = Seen()
    for key, tags in rows:
        ds = pydicom.dcmread(BytesIO(everything.archive.read(key)), force=True)
        with suppress(AttributeError, ValueError, TypeError, NotImplementedError):
            correct_ambiguous_vr(ds, ds.original_encoding[1])
        compare(ds, json.loads(tags), told[key], seen, key)
    assert seen.values > 20_000
    assert seen.private > 500
    assert seen.items > 500
    assert seen.told > 0


def test_what_a_series_shares_is_stored_once_and_in_every_instance(everything: Filled) -> None:
    shared = everything.catalog.sql(
        "select i.tags, o.tags, c.tags from instances i join instances_own o using (instance_key) "
        "join series_common c on (c.patient_key, c.SeriesInstanceUID) = (i.patient_key, i.SeriesInstanceUID)"
    ).fetchall()
    assert len(shared) > 150
    for whole, own, common in (map(json.loads, row) for row in shared):
        assert not own.keys() & common.keys()
        assert whole == {**common, **own, "SOPInstanceUID": whole["SOPInstanceUID"]}


class Seen:
    """How much was compared, so that a test of nothing fails."""

    values = private = items = told = 0


def compare(ds: Dataset, tags: dict[str, Any], told: set[str], seen: Seen, where: str) -> None:
    """Hold every element of a data set, in sequences too, to what SQL has of it."""
    elements = [tag for tag in list(ds.keys()) if tag not in PIXELS]
    assert len(tags) == len(elements), where
    for tag in elements:
        name = name_of(tag)
        found = tags[name]
        seen.told += name in told
        if name[0] == "(":
            assert found["creator"] == creator_of(ds, tag), (where, name)
            found = found["value"]
            seen.private += 1
        try:
            element = ds[tag]
        except Exception:  # pydicom raises whatever a broken value trips over
            assert name in told, (where, name)
            assert found == as_it_stands(ds.get_item(tag)), (where, name)
            continue
        seen.values += 1
        if element.VR == "SQ":
            assert len(found) == len(element.value), (where, name)
            for item, inner in zip(element.value, found, strict=True):
                compare(item, inner, told, seen, f"{where} {name}")
                seen.items += 1
        else:
            assert_same(found, element, (where, name))


def name_of(tag: BaseTag) -> str:
    entry = DicomDictionary.get(int(tag))
    if entry and entry[4]:
        return str(entry[4])
    repeating = pydicom.datadict.keyword_for_tag(tag) if tag.group in (0x5000, 0x6000) else ""
    return repeating or f"({tag.group:04x},{tag.element:04x})"


def creator_of(ds: Dataset, tag: BaseTag) -> str | None:
    if not tag.is_private or tag.element <= 0xFF:
        return None
    block = (tag.group, tag.element >> 8)
    return (str(ds[block].value) or None) if block in ds else None


def as_it_stands(element: RawDataElement | DataElement) -> Any:
    """Text where the bytes read as such, else what they are."""
    raw = element.value
    assert isinstance(raw, bytes)
    text = raw.decode("latin-1").rstrip(" \0")
    return text if text and text.isprintable() else plain(raw)


def assert_same(found: Any, element: DataElement, where: tuple[str, str]) -> None:
    if " or " in element.VR and isinstance(element.value, bytes) and len(element.value) == 2:
        expected: Any = int.from_bytes(element.value, "little")  # nothing says that it is signed
    else:
        expected = plain(element.value)
    assert found == expected, where
    assert type(found) in (int, float, str, list, dict, type(None)), where


def plain(value: Any) -> Any:
    """What strict JSON has for a value of pydicom's."""
    if isinstance(value, bytes):
        few = {"hex": value.hex()} if len(value) <= LONGEST_HEX else {"sha256": hashlib.sha256(value).hexdigest()}
        return {"length": len(value), **few} if value else None
    if isinstance(value, MultiValue | list | tuple):
        return [plain(one) for one in value] or None
    if isinstance(value, BaseTag):
        return f"({value.group:04x},{value.element:04x})"
    if isinstance(value, int | float) or hasattr(value, "as_integer_ratio"):
        number = float(value)
        return number if math.isfinite(number) else {math.inf: "inf", -math.inf: "-inf"}.get(number, "NaN")
    text = "" if value is None else str(value).encode("utf-8", "replace").decode().rstrip(" \0")
    return text or None


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("pydicom")
    before, logger.disabled = logger.disabled, True
    yield
    logger.disabled = before
