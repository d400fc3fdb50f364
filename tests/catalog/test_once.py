"""What a series shares is kept once, through growth, change and deletion."""

import json
import random
from typing import Any

from researchpacs.catalog._alike import Alike
from researchpacs.catalog._derive import common_of, series_row
from researchpacs.testing import small_ct

from .conftest import Filled, contents


def kept(filled: Filled) -> tuple[dict, list[dict]]:
    """What the series shares, and what each instance has of its own, by number."""
    ((common,),) = filled.catalog.sql("select tags from series_common").fetchall()
    own = filled.catalog.sql("select tags from instances_own order by InstanceNumber").fetchall()
    return json.loads(common), [json.loads(tags) for (tags,) in own]


def test_one_instance_shares_all_with_itself(filled: Filled) -> None:
    filled.take(small_ct(1))
    common, own = kept(filled)
    assert own == [{}]
    assert common["SOPInstanceUID"] == small_ct(1).SOPInstanceUID


def test_what_differs_moves_to_the_instances_and_back(filled: Filled) -> None:
    filled.take([small_ct(1), small_ct(2)])
    assert "KVP" in kept(filled)[0]
    filled.take(small_ct(3, KVP="80"))
    common, own = kept(filled)
    assert "KVP" not in common
    assert [one["KVP"] for one in own] == [120.0, 120.0, 80.0]
    filled.archive.delete("instance", small_ct(3).SOPInstanceUID)
    common, own = kept(filled)
    assert common["KVP"] == 120.0
    assert not any("KVP" in one for one in own)


def test_an_attribute_that_one_instance_lacks_or_leaves_empty_is_not_shared(filled: Filled) -> None:
    empty, without = small_ct(2), small_ct(3)
    empty.KVP = None
    del without.KVP
    filled.take([small_ct(1), empty, without])
    assert "KVP" not in kept(filled)[0]
    rows = filled.catalog.sql("select tags, tag_num(tags, 'KVP') from instances order by InstanceNumber").fetchall()
    assert [json.loads(tags).get("KVP", "absent") for tags, _ in rows] == [120.0, None, "absent"]
    assert [number for _, number in rows] == [120.0, None, None]


def test_growth_and_deletion_in_any_order_equal_made_anew(filled: Filled) -> None:
    chance = random.Random(5)
    made = {
        number: small_ct(number, KVP=chance.choice(["80", "120"]), Manufacturer=chance.choice(["A", "B", None]))
        for number in range(1, 13)
    }
    there: set[int] = set()
    for _ in range(16):
        number = chance.randrange(1, 13)
        if number in there:
            filled.archive.delete("instance", made[number].SOPInstanceUID)
        else:
            filled.take(made[number])
        there ^= {number}
        filled.catalog.sync()
    stepwise = contents(filled.catalog)
    assert len(stepwise["instances"]) == len(there) > 1

    filled.catalog.sync(rebuild=True)

    assert contents(filled.catalog) == stepwise


def test_numbers_that_are_equal_but_written_otherwise_are_not_the_same() -> None:
    assert common_of([{"a": 1, "b": [1], "c": "x", "d": None}, {"a": 1.0, "b": [1.0], "c": "x", "d": None}]) == {
        "c": "x",
        "d": None,
    }
    assert common_of([{"a": 0}, {"a": False}]) == {}


def test_what_is_known_to_be_alike_is_compared_as_all_else_is() -> None:
    bases = [{"Rows": 4, "KVP": 120.0, "Empty": None, "PatientSex": None}, {"Rows": 4, "KVP": 120, "PatientSex": "F"}]
    owns = [{}, {"KVP": 120}, {"Rows": 4}, {"Empty": "now"}, {"PatientSex": "M"}, {"PatientSex": None, "More": [1.0]}]
    for seed in range(200):
        chosen = random.Random(seed)
        picked = [(chosen.choice(bases), chosen.choice(owns)) for _ in range(chosen.randint(1, 5))]
        alike = [Alike(base, own) for base, own in picked]
        plain = [{**base, **own} for base, own in picked]
        assert json.dumps(common_of(alike)) == json.dumps(common_of(plain))
        assert [json.dumps(_series(tags)) for tags in (alike, plain)] == [json.dumps(_series(plain))] * 2


def _series(all_tags: list[dict[str, Any]]) -> dict[str, Any]:
    ours: dict[str, Any] = dict.fromkeys(("patient_key", "PatientID", "StudyInstanceUID", "SeriesInstanceUID"), "1")
    ours |= {"frame_count": 1, "size_bytes": 1, "instance_key": "1", "SOPInstanceUID": "1"}
    return series_row([{**ours, "InstanceNumber": number, "tags": tags} for number, tags in enumerate(all_tags)])


def test_the_uid_of_an_instance_stands_once_and_the_view_has_it_in_tags_too(filled: Filled) -> None:
    filled.take([small_ct(1), small_ct(2)])

    assert [one["SOPInstanceUID"] for one in kept(filled)[1]] == [0, 0]
    rows = filled.catalog.sql("select SOPInstanceUID, tag(tags, 'SOPInstanceUID'), tags from instances").fetchall()
    assert len(rows) == 2
    for uid, told, tags in rows:
        assert uid == told == json.loads(tags)["SOPInstanceUID"]


def test_what_looks_like_a_uid_that_stands_once_is_left_alone(filled: Filled) -> None:
    made = [small_ct(number, ImageComments=f'"SOPInstanceUID":0, {number}') for number in (1, 2)]
    filled.take(made)

    rows = filled.catalog.sql("select tag(tags, 'ImageComments') from instances order by 1").fetchall()
    assert [text for (text,) in rows] == [ds.ImageComments for ds in made]
