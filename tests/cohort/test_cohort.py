"""Cohorts: frozen, told apart from what is there now, parted without tearing anybody, and searched for leakage."""

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from pydicom import Dataset

import researchpacs as rp
from researchpacs.cohort import Cohort
from researchpacs.errors import ConflictError, InvalidInputError, NotFoundError
from researchpacs.testing import small_ct

Make = Callable[..., None]

_TOLD = ("question", "snapshot", "snapshot_at", "digest", "author", "created_at")


def _series(number: int, *, patient: str = "", seed: int | None = None, **attributes: object) -> list[Dataset]:
    """A series of three slices; its picture depends on its seed."""
    pixels = _blobs(number if seed is None else seed)
    return [
        small_ct(
            at, size=64, PixelData=(pixels + at).tobytes(),
            **{"PatientID": patient or f"P{number}", "PatientName": f"Name^{number}",
               "StudyInstanceUID": f"1.2.3.{number}", "SeriesInstanceUID": f"1.2.3.{number}.1",
               "SOPInstanceUID": f"1.2.3.{number}.1.{at}", "FrameOfReferenceUID": f"1.2.3.{number}.9",
               "SeriesNumber": 1, **attributes},
        )
        for at in (1, 2, 3)
    ]  # fmt: skip


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[rp.Pacs]:
    with rp.connect(tmp_path / "home") as made:
        yield made


@pytest.fixture
def make(pacs: rp.Pacs) -> Make:
    def run(number: int, **options: object) -> None:
        pacs.ingest(_series(number, **options))

    return run


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rp.Pacs]:
    """Two series of two patients."""
    with rp.connect(tmp_path_factory.mktemp("filled") / "home") as made:
        made.ingest([*_series(1), *_series(2)])
        yield made


def _blobs(seed: int, *, side: int = 64) -> np.ndarray:
    """A few bright blobs, as different from seed to seed as people are."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    found = np.zeros((side, side))
    for _ in range(8):
        cy, cx, size = random.uniform(8, side - 8), random.uniform(8, side - 8), random.uniform(4, 12)
        found += random.uniform(300, 900) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * size**2))
    return found.astype("<i2")


def test_a_search_a_query_a_table_and_handles_freeze_the_same(pacs, make):
    for number in (1, 2, 3):
        make(number, Modality="CT" if number < 3 else "PT")
    uids = ["1.2.3.1.1", "1.2.3.2.1"]
    sources = {
        "search": pacs.search("series", Modality="CT"),
        "studies": pacs.search(ModalitiesInStudy="CT"),
        "query": pacs.sql("select SeriesInstanceUID, 7 as seven from series where Modality = $m", m="CT"),
        "table": pd.DataFrame({"SeriesInstanceUID": uids, "label": ["a", "b"]}),
        "uids": uids,
        "handles": [pacs.series(uid) for uid in uids],
        "patients": list(pacs.search("patient", PatientID=["P1", "P2"])),
    }
    cohorts = {name: pacs.freeze(source, name=name) for name, source in sources.items()}
    assert len({cohort.digest for cohort in cohorts.values()}) == 1
    assert all(sorted(one.uid for one in cohort) == uids for cohort in cohorts.values())
    assert cohorts["table"].df()["label"].tolist() == ["a", "b"]
    assert cohorts["query"].df()["seven"].tolist() == [7, 7]
    assert [cohort.name for cohort in pacs.cohorts()] == list(sources)


def test_the_digest_is_over_sorted_uids_and_file_hashes(pacs, make):
    make(1)
    cohort = pacs.freeze(["1.2.3.1.1"], name="one")
    files = sorted(f"1.2.3.1.1.{at}\t{sha256(pacs.archive.read(f'1.2.3.1.1.{at}')).hexdigest()}\n" for at in (1, 2, 3))
    series = sha256("".join(files).encode()).hexdigest()
    assert cohort.digest == sha256(f"1.2.3.1\t1.2.3.1.1\t{series}\n".encode()).hexdigest()


def test_the_digest_is_the_same_in_another_archive_and_of_references(pacs, make, tmp_path):
    make(1)
    make(2)
    cohort = pacs.freeze(pacs.search("series"), name="all")
    for at, uid in enumerate(f"1.2.3.{n}.1.{at}" for n in (2, 1) for at in (3, 1, 2)):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / f"{at}.dcm").write_bytes(pacs.archive.read(uid))
    for copy in (True, False):
        with rp.connect(tmp_path / f"other-{copy}") as other:
            other.ingest(tmp_path / "out", copy=copy)
            assert other.freeze(other.search("series"), name="all").digest == cohort.digest


def test_it_is_frozen(pacs, make):
    make(1)
    first = pacs.freeze(pacs.search("series"), name="all", description="everything")
    assert pacs.freeze(pacs.search("series"), name="all").created_at == first.created_at
    make(2)
    with pytest.raises(ConflictError, match="frozen"):
        pacs.freeze(pacs.search("series"), name="all")
    assert len(pacs.cohort("all")) == 1
    assert pacs.cohort("all").description == "everything"


def test_a_diff_says_what_was_added_removed_and_changed(pacs, make):
    for number in (1, 2, 3):
        make(number)
    cohort = pacs.freeze(pacs.search("series", Modality="CT"), name="all")
    assert cohort.diff().empty
    pacs.delete(pacs.series("1.2.3.1.1"))
    pacs.ingest([small_ct(9, PatientID="P2", PatientName="Name^2", StudyInstanceUID="1.2.3.2",
                          SeriesInstanceUID="1.2.3.2.1", SOPInstanceUID="1.2.3.2.1.9", SeriesNumber=1)])  # fmt: skip
    make(4)
    found = dict(cohort.diff()[["SeriesInstanceUID", "change"]].itertuples(index=False))
    assert found == {"1.2.3.4.1": "added", "1.2.3.1.1": "removed", "1.2.3.2.1": "changed"}
    named = pacs.freeze(["1.2.3.3.1"], name="named")
    assert named.diff().empty
    with pytest.raises(NotFoundError, match="diff"):
        cohort[[one.series_uid for one in cohort.members].index("1.2.3.1.1")]


@pytest.mark.parametrize(
    ("source", "kind", "reason"),
    [
        (["1.9.9"], NotFoundError, "not in the archive"),
        ([], InvalidInputError, "SeriesInstanceUID"),
        (pd.DataFrame({"uid": ["1"]}), InvalidInputError, "needs a column"),
        (pd.DataFrame({"SeriesInstanceUID": ["1.2.3.1.1"] * 2, "label": [1, 2]}), InvalidInputError, "twice"),
        ("1.2.3.1.1", InvalidInputError, "list of UIDs"),
        (7, InvalidInputError, "list of UIDs"),
        ([object()], InvalidInputError, "object"),
    ],
)
def test_what_names_no_series_is_told(filled, source, kind, reason):
    with pytest.raises(kind, match=reason):
        filled.freeze(source, name="x")
    assert "x" not in [one.name for one in filled.cohorts()]


def test_a_cohort_is_a_sequence_that_other_processes_can_have(pacs, make, tmp_path):
    for number in (1, 2):
        make(number)
    cohort = pacs.freeze(pacs.search("series"), name="all")
    (tmp_path / "cohort.pickle").write_bytes(pickle.dumps(cohort))
    code = (
        "import pickle, sys; c = pickle.load(open(sys.argv[1], 'rb'));"
        "print(len(c), [one.uid for one in c], c[-1].uid, c.digest)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "cohort.pickle"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[0] == f"2 ['1.2.3.1.1', '1.2.3.2.1'] 1.2.3.2.1 {cohort.digest}"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cohort]:
    """24 series of 13 patients; two labels."""
    with rp.connect(tmp_path_factory.mktemp("labelled") / "home") as pacs:
        pacs.ingest([one for number in range(1, 25) for one in _series(number, patient=f"P{number // 2}")])
        rows = [
            {"SeriesInstanceUID": f"1.2.3.{number}.1", "label": "sick" if number % 4 < 2 else "well"}
            for number in range(1, 25)
        ]
        yield pacs.freeze(pd.DataFrame(rows), name="labelled")


def test_splits_tear_nobody_and_keep_the_shares(cohort):
    train, test = splits = cohort.split({"train": 0.75, "test": 0.25}, stratify="label", seed=7)
    assert (splits["train"].name, train.name, test.name) == ("train", "train", "test")
    table = splits.df()
    assert sorted(table["SeriesInstanceUID"]) == sorted(cohort.df()["SeriesInstanceUID"])
    assert table.groupby("PatientID")["split"].nunique().max() == 1
    assert abs(len(test) - 6) <= 1
    shares = table.groupby("split")["label"].value_counts(normalize=True).unstack()
    assert (shares.loc["train"] - shares.loc["test"]).abs().max() < 0.15
    assert splits.check(pixels=False).empty


def test_splits_depend_on_the_seed_and_not_on_the_order(cohort):
    told = {name: getattr(cohort, name) for name in _TOLD}
    turned = Cohort("turned", cohort.members[::-1], cohort.source, description="", **told)

    def test_of(one, seed):
        return set(one.split({"train": 0.5, "test": 0.5}, seed=seed)["test"].df()["SeriesInstanceUID"])

    assert test_of(cohort, 7) == test_of(cohort, 7) == test_of(turned, 7)
    assert len({frozenset(test_of(cohort, seed)) for seed in range(5)}) > 1


def test_folds_test_everybody_once(cohort):
    folds = cohort.folds(4, stratify="label", seed=1)
    tested = [uid for train, test in folds for uid in test.df()["SeriesInstanceUID"]]
    assert sorted(tested) == sorted(cohort.df()["SeriesInstanceUID"])
    assert all(set(train.df()["PatientID"]).isdisjoint(test.df()["PatientID"]) for train, test in folds)


@pytest.mark.parametrize(
    ("shares", "options", "reason"),
    [
        ({"all": 1.0}, {}, "two parts"),
        ({"a": 0.5, "b": 0.6}, {}, "add up to 1.1"),
        ({"a": 1.5, "b": -0.5}, {}, "above 0"),
        ({"a": 0.5, "b": 0.5}, {"by": "nothing"}, "no column 'nothing'"),
        ({"a": 0.5, "b": 0.5}, {"stratify": "nothing"}, "no column 'nothing'"),
    ],
)
def test_shares_that_are_none_are_told(filled, shares, options, reason):
    with pytest.raises(InvalidInputError, match=reason):
        filled.freeze(filled.search("series"), name="two").split(shares, **options)


def test_one_patient_cannot_be_parted(pacs, make):
    make(1, patient="P")
    make(2, patient="P")
    with pytest.raises(InvalidInputError, match="never torn"):
        pacs.freeze(pacs.search("series"), name="two").split({"a": 0.5, "b": 0.5})


def test_leaks_are_found_by_patient_study_frame_of_reference_and_pixels(pacs, make):
    make(1, patient="P1")
    make(2, patient="P1")
    make(3, patient="P3", FrameOfReferenceUID="1.2.3.4.9")
    make(4, patient="P4")
    make(5, patient="P5")
    make(6, patient="P6", seed=5, RescaleSlope="2")  # the pictures of 5 under another PatientID, values doubled
    parts = {1: "a", 2: "b", 3: "a", 4: "b", 5: "a", 6: "b"}
    rows = [{"SeriesInstanceUID": f"1.2.3.{number}.1", "part": part} for number, part in parts.items()]
    cohort = pacs.freeze(pd.DataFrame(rows), name="leaky")
    leaks = cohort.split({"one": 0.5, "other": 0.5}, by="part").check()
    found = {(kind, frozenset((a, b))) for kind, a, b in
             leaks[["kind", "SeriesInstanceUID_a", "SeriesInstanceUID_b"]].itertuples(index=False)}  # fmt: skip
    assert found == {
        ("patient", frozenset({"1.2.3.1.1", "1.2.3.2.1"})),
        ("frame_of_reference", frozenset({"1.2.3.3.1", "1.2.3.4.1"})),
        ("pixels", frozenset({"1.2.3.5.1", "1.2.3.6.1"})),
    }
    assert leaks.attrs["not_compared"] == []


def test_images_without_structure_are_not_compared_but_named(pacs, make):
    make(1)
    pacs.ingest([small_ct(at, size=64, PixelData=bytes(64 * 64 * 2), PatientID="flat", StudyInstanceUID="1.2.8",
                          SeriesInstanceUID="1.2.8.1", SOPInstanceUID=f"1.2.8.1.{at}") for at in (1, 2)])  # fmt: skip
    cohort = pacs.freeze(pacs.search("series"), name="two")
    assert cohort.split({"a": 0.5, "b": 0.5}).check().attrs["not_compared"] == ["1.2.8.1"]


def test_attrition_counts_what_each_filter_left(filled):
    found = filled.search(
        "series",
        Modality=["CT", "MR"],
        SliceThickness=(None, 2.5),
        PatientID="P1",
        text="small",
        where="instance_count = 3",
    )
    flow = filled.freeze(found, name="narrowed").attrition()
    assert flow.df().to_dict("list") == {
        "step": ["in the archive", "Modality: CT, MR", "SliceThickness to 2.5", "PatientID as asked for", "text: small",
                 "where: instance_count = 3", "frozen"],
        "patients": [2, 2, 2, 1, 1, 1, 1], "studies": [2, 2, 2, 1, 1, 1, 1], "series": [2, 2, 2, 1, 1, 1, 1],
    }  # fmt: skip
    assert "P1" not in flow.svg
    root = ElementTree.fromstring(flow.svg)
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "2 patients, 2 studies, 2 series" in texts
    assert "\N{MINUS SIGN} 1 series" in texts


def test_attrition_of_a_query_has_its_two_ends(filled):
    flow = filled.freeze(filled.sql("from series where PatientID = 'P1'"), name="asked").attrition()
    assert flow.df()[["step", "series"]].to_dict("list") == {"step": ["in the archive", "frozen"], "series": [2, 1]}


def test_nobody_is_named_in_what_a_notebook_keeps(filled):
    cohort = filled.freeze(filled.search("series", PatientName="Name*"), name="found by name")
    for shown in (repr(cohort), cohort._repr_html_()):
        assert "P1" not in shown
        assert "Name" not in shown
