"""Other archives and public indexes beside one's own: asked in one query, opened lazily, never written."""

import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import researchpacs as rp
from researchpacs.errors import (
    AccessError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    RemoteError,
    ResearchPacsError,
    UnsupportedError,
)
from researchpacs.testing import small_ct

from .servers import BUCKET, Servers

OTHER = "1.2.3"
STUDY = str(small_ct().StudyInstanceUID)
PUBLIC = """{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": ["s3:*"],
"Resource": ["arn:aws:s3:::open", "arn:aws:s3:::open/*"]}]}"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two archives: one's own, and another with a series of its own that has a licence."""
    folder = tmp_path_factory.mktemp("federation")
    with rp.connect(folder / "own") as own, rp.connect(folder / "other") as other:
        own.ingest([small_ct(number) for number in (1, 2, 3)])
        own.sync()
        other.ingest(_slices(1, 2, 3, 4))
        other.credit(other.search("series"), licence="CC BY 4.0", doi="10.7937/x")
        other.sync()
    return folder


@pytest.fixture
def pacs(home: Path, made: Path) -> Iterator["rp._pacs.Pacs"]:
    with rp.connect(shutil.copytree(made / "own", home)) as pacs:
        yield pacs


@pytest.fixture
def other(tmp_path: Path, made: Path) -> Path:
    return shutil.copytree(made / "other", tmp_path / "other")


def _slices(*numbers: int, series: str = OTHER) -> list[Any]:
    made = [small_ct(number, SeriesInstanceUID=series, PatientID="B") for number in numbers]
    for number, ds in zip(numbers, made, strict=True):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{series}.{number}"
    return made


# -- another archive ---------------------------------------------------------------------------------------------------


def test_one_query_unions_both_and_no_table_answers_from_the_wrong_one(pacs: "rp._pacs.Pacs", other: Path) -> None:
    pacs.attach("other", other)
    both = "select SeriesInstanceUID, instance_count from {} union all select SeriesInstanceUID, instance_count from {}"
    expected = {(str(small_ct().SeriesInstanceUID), 3), (OTHER, 4)}
    assert set(pacs.sql(both.format("series", "other.series")).fetchall()) == expected
    assert set(pacs.sql(both.format("series_index", "other.series_index")).fetchall()) == expected
    with rp.connect(other) as alone:
        for name in alone.schema().tables:
            rows = sorted(alone.sql(f"from {name}").fetchall(), key=repr)
            assert sorted(pacs.sql(f"from other.{name}").fetchall(), key=repr) == rows, name
    assert pacs.sql("select count(*) from instances").fetchall() == [(3,)]
    joined = "select license_short_name from series full join other.series_index using (SeriesInstanceUID) order by all"
    assert pacs.sql(joined).fetchall() == [("CC BY 4.0",), (None,)]


def test_tables_of_the_user_s_own_do_not_stand_in_for_another_archive_s(pacs: "rp._pacs.Pacs", other: Path) -> None:
    pacs.attach("other", other)
    pacs.sql("create temp table series_common as select 1 as x")
    pacs.sql("create temp table patients as select 1 as x")
    assert pacs.sql("select count(*), count(tags) from other.instances").fetchall() == [(4, 4)]
    assert pacs.sql("select instance_count from other.series_index").fetchall() == [(4,)]


def test_what_is_stored_there_meanwhile_is_in_the_next_answer(pacs: "rp._pacs.Pacs", other: Path) -> None:
    pacs.attach("other", other)
    assert pacs.sql("select count(*) from other.instances").fetchall() == [(4,)]
    with rp.connect(other) as alone:
        alone.ingest(_slices(5))
    assert pacs.sql("select count(*) from other.instances").fetchall() == [(5,)]
    with rp.connect(other) as alone:
        alone.sync(rebuild=True)
    for path in other.glob("catalog.sqlite*"):
        path.unlink()
    assert pacs.sql("select count(*) from other.instances").fetchall() == [(5,)]


@pytest.mark.parametrize(
    "query",
    [
        "delete from other.series",
        "insert into other.origins select * from other.origins",
        "drop view other.series",
        "create table other.mine as select 1 as x",
        "delete from researchpacs_of_other.instances_own",
    ],
)
def test_nothing_is_written_there(pacs: "rp._pacs.Pacs", other: Path, query: str) -> None:
    pacs.attach("other", other)
    with pytest.raises(InvalidInputError):
        pacs.sql(query)
    assert pacs.sql("select count(*) from other.instances").fetchall() == [(4,)]


def test_its_series_are_found_and_open_as_one_s_own(pacs: "rp._pacs.Pacs", other: Path) -> None:
    attached = pacs.attach("other", other)
    (series,) = pacs.search("series", archive="other", Modality="CT", PatientID="B")
    assert (series.uid, rp.open_volume(series).shape) == (OTHER, (4, 16, 16))
    assert attached.series(OTHER).header().PatientID == "B"
    assert len(pacs.search("series")) == 1
    with pytest.raises(InvalidInputError, match="attached: other"):
        pacs.search("series", archive="another")


def test_what_is_retrieved_is_the_same_to_the_bit_and_keeps_its_licence(pacs: "rp._pacs.Pacs", other: Path) -> None:
    attached = pacs.attach("other", other)
    report = pacs.retrieve("other", pacs.search("series", archive="other"))
    assert "4 stored" in repr(report)
    hashes = "select sha256 from {}instances where SeriesInstanceUID = $uid order by all"
    there = pacs.sql(hashes.format("other."), uid=OTHER).fetchall()
    assert pacs.sql(hashes.format(""), uid=OTHER).fetchall() == there
    assert pacs.sql("select license_short_name, source_doi from origins").fetchall() == [("CC BY 4.0", "10.7937/x")]
    with pytest.raises(InvalidInputError, match="another archive's"):
        pacs.retrieve("other", pacs.search("series"))
    assert attached.search("series")


def test_another_archive_s_handles_change_nothing_here(pacs: "rp._pacs.Pacs", other: Path) -> None:
    pacs.attach("other", other)
    hits = pacs.search("series", archive="other")
    pacs.retrieve("other", hits)
    changes = (pacs.delete, lambda it: pacs.label(it, "x"), lambda it: pacs.credit(it, licence="CC0 1.0"))
    for change in changes:
        with pytest.raises(InvalidInputError, match="another archive's"):
            change(hits)
    assert pacs.sql("select count(*) from series").fetchall() == [(2,)]
    assert pacs.sql("select distinct license_short_name from origins").fetchall() == [("CC BY 4.0",)]


def test_what_is_detached_is_gone_and_its_name_is_free(pacs: "rp._pacs.Pacs", other: Path) -> None:
    pacs.attach("other", other)
    assert list(pacs.attached) == ["other"]
    pacs.detach("other")
    with pytest.raises(InvalidInputError, match="other"):
        pacs.sql("from other.series")
    with pytest.raises(InvalidInputError, match="nothing is attached"):
        pacs.detach("other")
    pacs.attach("other", other)
    assert pacs.sql("select count(*) from other.series").fetchall() == [(1,)]


@pytest.mark.parametrize("name", ["", "Idc", "1dc", "a b", "x;--", 'a"b', "select", "series", "pacs", "temp", 3])
def test_a_name_that_means_something_else_is_refused(pacs: "rp._pacs.Pacs", other: Path, name: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"attach|attached"):
        pacs.attach(name, other)
    assert not pacs.attached


def test_names_are_taken_once(pacs: "rp._pacs.Pacs", other: Path) -> None:
    pacs.attach("other", other)
    with pytest.raises(InvalidInputError, match="already"):
        pacs.attach("other", other)
    pacs.sql("attach ':memory:' as scratch")
    with pytest.raises(InvalidInputError, match="already"):
        pacs.attach("scratch", other)
    assert list(pacs.attached) == ["other"]


def test_only_what_is_there_is_attached_and_nothing_is_made(pacs: "rp._pacs.Pacs", other: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "nowhere", tmp_path / "empty", tmp_path / "no.parquet"):
        with pytest.raises(NotFoundError):
            pacs.attach("other", place)
    assert not (tmp_path / "nowhere").exists()
    assert not list((tmp_path / "empty").iterdir())
    with pytest.raises(InvalidInputError, match="itself"):
        pacs.attach("me", pacs.home)


def test_a_home_that_vanishes_is_told_and_one_s_own_goes_on(pacs: "rp._pacs.Pacs", other: Path) -> None:
    pacs.attach("other", other)
    shutil.rmtree(other)
    with pytest.raises(NotFoundError, match="detach"):
        pacs.sql("from other.series")
    assert pacs.sql("select count(*) from series").fetchall() == [(1,)]
    assert not other.exists()
    pacs.detach("other")


def test_catalogs_that_lie_elsewhere_stand_side_by_side(home: Path, tmp_path: Path, servers: Servers) -> None:
    places = []
    for number, place in enumerate((home, tmp_path / "other")):
        place.mkdir()
        (place / "researchpacs.toml").touch(0o600)
        (place / "researchpacs.toml").write_text(servers.settings())
        with rp.connect(place) as made:
            made.ingest(_slices(*range(1, 30 + number), series=f"1.2.{number}"))
            places.append(made.catalog.place)
    with rp.connect(home) as pacs:
        pacs.attach("other", tmp_path / "other")
        rows = "select count(*), count(tags) from instances union all select count(*), count(tags) from other.instances"
        assert pacs.sql(rows).fetchall() == [(29, 29), (30, 30)]
    assert len(set(places)) == 2


# -- an index ----------------------------------------------------------------------------------------------------------

ROWS = {
    "PatientID": ["P1", "P2"],
    "StudyInstanceUID": [STUDY, "1.2.9"],
    "SeriesInstanceUID": ["1.2.77", "1.2.78"],
    "Modality": ["CT", "MR"],
    "StudyDate": ["2020-01-01", "20210202"],
    "PatientAge": ["041Y", None],
    "instanceCount": [3, 4],
    "license_short_name": ["CC BY 3.0", None],
    "collection_id": ["a_collection", None],
    "source_DOI": ["10.7937/y", None],
    "series_aws_url": ["s3://open/aaa/*", None],
}


def _index(folder: Path, **changes: Any) -> Path:
    path = folder / "index.parquet"
    columns = {name: values for name, values in (ROWS | changes).items() if values is not None}
    pq.write_table(pa.table(columns), path)
    return path


def test_an_index_is_a_table_beside_one_s_own(pacs: "rp._pacs.Pacs", tmp_path: Path) -> None:
    index = pacs.attach("idc", _index(tmp_path))
    chosen = "select SeriesInstanceUID, Modality, StudyDate, instance_count, license_short_name, source_DOI"
    rows = pacs.sql(f"{chosen} from series_index union all {chosen} from idc.series order by 1").fetchall()
    assert [(row[0], row[1], str(row[2]), *row[3:]) for row in rows] == [
        ("1.2.77", "CT", "2020-01-01", 3, "CC BY 3.0", "10.7937/y"),
        ("1.2.78", "MR", "2021-02-02", 4, None, None),
        (str(small_ct().SeriesInstanceUID), "CT", "2024-02-29", 3, None, None),
    ]
    by_name = pacs.sql("from series_index union all by name from idc.series")
    assert {"kind", "series_aws_url"} <= set(by_name.columns)
    assert len(by_name.fetchall()) == 3
    assert "2 series" in repr(index)
    assert "P1" not in repr(pacs.sql("from idc.series"))
    assert list((pacs.home / "remotes").glob("*")) == [], "nothing is fetched, and no place made for it"


def test_an_index_is_searched_by_what_it_has(pacs: "rp._pacs.Pacs", tmp_path: Path) -> None:
    pacs.attach("idc", _index(tmp_path))
    assert [hit.uid for hit in pacs.search("series", archive="idc", StudyDate=("2021", None))] == ["1.2.78"]
    (hit,) = pacs.search("series", archive="idc", PatientAge="041Y", Modality=["CT", "PT"])
    assert (hit.uid, hit.license_short_name, hit.collection_id) == ("1.2.77", "CC BY 3.0", "a_collection")
    licensed = pacs.search("series", archive="idc", where="license_short_name = 'CC BY 3.0'", limit=5)
    assert list(licensed) == [hit]
    asked: list[tuple[str, dict[str, Any]]] = [("series", {"KVP": 1}), ("study", {}), ("series", {"text": "x"})]
    for level, words in [*asked, ("series", {"labels": "x"})]:
        with pytest.raises(UnsupportedError):
            pacs.search(level, archive="idc", **words)
    with pytest.raises(InvalidInputError, match="Modality"):
        pacs.search("series", Modalty="CT")


@pytest.fixture
def store(servers: Servers) -> Servers:
    """With a bucket that is open to all, and three slices in it."""
    s3 = servers.s3
    if "open" not in [one["Name"] for one in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket="open")
        s3.put_bucket_policy(Bucket="open", Policy=PUBLIC)
        for ds in _slices(1, 2, 3, series="1.2.77"):
            content = BytesIO()
            ds.save_as(content, enforce_file_format=True)
            for bucket in ("open", BUCKET):
                s3.put_object(Bucket=bucket, Key=f"aaa/{ds.InstanceNumber}.dcm", Body=content.getvalue())
    return servers


def test_a_series_of_an_index_is_fetched_when_it_is_opened_and_once(
    pacs: "rp._pacs.Pacs", tmp_path: Path, store: Servers
) -> None:
    pacs.attach("idc", _index(tmp_path), endpoint=store.endpoint)
    hits = pacs.search("series", archive="idc", Modality="CT")
    volume = rp.read_volume(hits.one())
    assert volume.shape == (3, 16, 16)
    expected = [ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in _slices(1, 2, 3)]
    assert (volume.sortby("z").to_numpy() == expected).all()
    assert len(pacs.search("series")) == 1
    store.s3.delete_object(Bucket="open", Key="aaa/2.dcm")
    assert rp.open_volume(pacs.attached["idc"].series("1.2.77")).shape == (3, 16, 16)
    assert "3 stored" in repr(pacs.retrieve("idc", hits))
    assert pacs.sql("select collection_id, license_short_name, source_doi, source_url from origins").fetchall() == [
        ("a_collection", "CC BY 3.0", "10.7937/y", "s3://open/aaa/*")
    ]
    cohort = pacs.freeze(pacs.search("series", SeriesInstanceUID="1.2.77"), name="public")
    assert len(cohort) == 1


def test_an_index_may_lie_in_a_store_itself(pacs: "rp._pacs.Pacs", tmp_path: Path, store: Servers) -> None:
    store.s3.upload_file(str(_index(tmp_path)), "open", "index.parquet")
    pacs.attach("one", f"{store.endpoint}/open/index.parquet")
    pacs.attach("two", "s3://open/index.parquet", endpoint=store.endpoint)
    both = "select count(*) from one.series join two.series using (SeriesInstanceUID)"
    assert pacs.sql(both).fetchall() == [(2,)]
    with pytest.raises(ResearchPacsError):
        pacs.attach("four", "s3://open/index4.parquet", endpoint="http://127.0.0.1:1")
    assert pacs.sql(both).fetchall() == [(2,)], "what is elsewhere changes no other's place"
    with pytest.raises(ResearchPacsError, match=r"none\.parquet|answer|read"):
        pacs.attach("three", f"{store.endpoint}/open/none.parquet")
    with pytest.raises(InvalidInputError) as caught:
        pacs.attach("three", "https://me:hush@127.0.0.1/index.parquet")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "error", "hint"),
    [
        ({"series_aws_url": None}, UnsupportedError, "series_aws_url"),
        ({"series_aws_url": ["s3://open/nothing/*", None]}, NotFoundError, "nothing at"),
        ({"series_aws_url": [f"s3://{BUCKET}/aaa/*", None]}, AccessError, "AWS_ACCESS_KEY_ID"),
        ({"series_aws_url": ["s3://no-such-bucket/aaa/*", None]}, ResearchPacsError, "no-such-bucket"),
        ({"series_aws_url": ["http://127.0.0.1:1/x.dcm", None]}, RemoteError, "127.0.0.1:1"),
        ({"series_aws_url": ["/etc/passwd", None]}, InvalidInputError, "no s3"),
        ({"series_aws_url": ["file:///etc/passwd", None]}, InvalidInputError, "no s3"),
        ({"SeriesInstanceUID": ["1.2.55", "1.2.78"]}, ConflictError, "is not series"),
        ({"instanceCount": [30, 4]}, ConflictError, "of 30"),
    ],
)
def test_a_series_that_cannot_be_fetched_says_why(
    pacs: "rp._pacs.Pacs", tmp_path: Path, store: Servers, changes: dict[str, Any], error: type, hint: str
) -> None:
    pacs.attach("idc", _index(tmp_path, **changes), endpoint=store.endpoint)
    with pytest.raises(error, match=hint):
        rp.open_volume(pacs.search("series", archive="idc", Modality="CT").one())
    assert len(pacs.search("series")) == 1


def test_a_column_s_name_is_only_a_name(pacs: "rp._pacs.Pacs", tmp_path: Path) -> None:
    hostile = {'x"; drop table series; --': ["a", "b"], "'": ["<img src=x onerror=alert(1)>", "b"], "\u202e\n": [1, 2]}
    path = _index(tmp_path, **hostile)
    path = path.rename(tmp_path / "o'ne [*]?.parquet")
    pacs.attach("idc", path)
    result = pacs.sql("from idc.series")
    assert set(hostile) <= set(result.columns)
    assert "<img" not in result._repr_html_()
    assert pacs.search("series", archive="idc", Modality="CT").one().attributes()["'"] == hostile["'"][0]
    assert pacs.sql("select count(*) from series").fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"Modality": None}, "has no Modality"),
        ({"SeriesInstanceUID": ["1.2.3", "1.2.3"]}, "one a series"),
        ({"SeriesInstanceUID": ["1.2.3", None]}, "one a series"),
        ({"StudyInstanceUID": [[1], [2]]}, "no texts"),
        ({"PatientID": [1, 2]}, "no texts"),
    ],
)
def test_what_is_no_index_is_refused(pacs: "rp._pacs.Pacs", tmp_path: Path, changes: Any, hint: str) -> None:
    with pytest.raises(InvalidInputError, match=hint):
        pacs.attach("idc", _index(tmp_path, **changes))
    assert not pacs.attached


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet" * 100, b"PAR1" + bytes(200) + b"PAR1"])
def test_a_file_that_is_no_parquet_is_refused(pacs: "rp._pacs.Pacs", tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "index.parquet"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"index\.parquet"):
        pacs.attach("idc", path)


def test_values_that_are_no_dates_stay_as_they_are_and_are_not_searched(pacs: "rp._pacs.Pacs", tmp_path: Path) -> None:
    pacs.attach("idc", _index(tmp_path, StudyDate=["2020-01-01", "around noon"]))
    assert pacs.sql("select StudyDate from idc.series order by all").fetchall() == [("2020-01-01",), ("around noon",)]
    with pytest.raises(UnsupportedError, match="StudyDate"):
        pacs.search("series", archive="idc", StudyDate="2020-01-01")


def test_an_index_that_changes_or_vanishes_is_followed_or_told(pacs: "rp._pacs.Pacs", tmp_path: Path) -> None:
    path = _index(tmp_path)
    pacs.attach("idc", path)
    assert pacs.sql("select count(*) from idc.series").fetchall() == [(2,)]
    pq.write_table(pa.table({name: values[:1] for name, values in ROWS.items() if name != "StudyDate"}), path)
    assert pacs.sql("select count(*) from idc.series").fetchall() == [(1,)]
    assert "StudyDate" not in pacs.sql("from idc.series").columns
    assert len(pacs.search("series", archive="idc")) == 1
    path.unlink()
    with pytest.raises(NotFoundError, match="detach"):
        pacs.sql("from idc.series")
    with pytest.raises(NotFoundError, match="detach"):
        len(pacs.search("series", archive="idc"))
    assert pacs.sql("select count(*) from series").fetchall() == [(1,)]
    pacs.detach("idc")
