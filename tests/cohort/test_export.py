"""Exports: what is in the folder, whose it is, and that a run which was cut short goes on."""

import csv
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pydicom import Dataset

import researchpacs as rp
from researchpacs.cohort import Cohort
from researchpacs.errors import ConflictError, InvalidInputError
from researchpacs.testing import small_ct

HOSTILE = "../../escaped\u202e<b>&;$(x)"
PERSON = {"PatientName": "Grace^Hopper", "PatientID": "SECRET-17", "PatientBirthDate": "19061209"}


def _series(number: int, **attributes: object) -> list[Dataset]:
    """Three slices that say who the patient is wherever they can."""
    return [
        small_ct(
            at, size=16, PixelData=np.full((16, 16), 100 * number + at, "<i2").tobytes(),
            StudyInstanceUID=f"1.2.3.{number}", SeriesInstanceUID=f"1.2.3.{number}.1", SeriesNumber=1,
            SOPInstanceUID=f"1.2.3.{number}.1.{at}", FrameOfReferenceUID=f"1.2.3.{number}.9",
            SpecificCharacterSet="ISO_IR 192",
            **{**PERSON, "SeriesDescription": HOSTILE, "StudyDate": "20010101", **attributes},
        )
        for at in (1, 2, 3)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rp.Pacs]:
    """Four series of two patients; tests only read it."""
    with rp.connect(tmp_path_factory.mktemp("export") / "home") as made:
        made.ingest([*_series(1), *_series(2), *_series(3, PatientID="P3"), *_series(4, PatientID="P4", Modality="MR")])
        made.credit(made.series("1.2.3.1.1"), licence="CC BY 4.0", doi="10.7937/abc")
        yield made


@pytest.fixture(scope="module")
def cohort(pacs: rp.Pacs) -> Cohort:
    rows = [{"SeriesInstanceUID": f"1.2.3.{n}.1", "label": f"l{n}", "PatientName": "Grace"} for n in (3, 1, 2)]
    return pacs.freeze(pd.DataFrame(rows), name="three", description="For the test.")


def _files(folder: Path) -> dict[str, bytes]:
    """All files that are no hidden ones, by path."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.startswith(".")}


def _manifest(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "manifest.csv").read_text().splitlines()))


def test_dicom_is_bit_for_bit_and_gives_the_same_digest_elsewhere(pacs, cohort, tmp_path):
    report = cohort.export(tmp_path / "out", format="dicom")
    assert (report.series, report.failed, report.ok) == (3, 0, True)
    files = {name: data for name, data in _files(tmp_path / "out").items() if name.endswith(".dcm")}
    assert {hashlib.sha256(data).digest() for data in files.values()} == {
        hashlib.sha256(pacs.archive.read(f"1.2.3.{n}.1.{at}")).digest() for n in (1, 2, 3) for at in (1, 2, 3)
    }
    with rp.connect(tmp_path / "other") as other:
        other.ingest(tmp_path / "out" / "patient-001")
        other.ingest(tmp_path / "out" / "patient-002", copy=False)
        assert other.freeze(other.search("series"), name="again").digest == cohort.digest


def test_files_are_named_by_numbers_alone(cohort, tmp_path):
    for written in ("dicom", "nifti", "zarr"):
        cohort.export(tmp_path / written, format=written)
        ours = re.compile(r"patient-\d{3}/study-\d{3}/series-\d{3}(\.nii\.gz|\.json|\.zarr/.*|/\d{6}\.dcm)")
        rest = {name for name in _files(tmp_path / written) if not ours.fullmatch(name)}
        assert rest == {"manifest.csv", "ro-crate-metadata.json"}
    assert not list(tmp_path.glob("*escaped*"))


def test_the_manifest_has_each_file_with_its_hash_and_what_belongs_to_it(cohort, tmp_path):
    cohort.export(tmp_path / "out", format="nifti")
    rows, files = _manifest(tmp_path / "out"), _files(tmp_path / "out")
    for row in rows:
        assert hashlib.sha256(files[row["path"]]).hexdigest() == row["sha256"]
        assert len(files[row["path"]]) == int(row["bytes"])
    assert {row["path"] for row in rows} == set(files) - {"manifest.csv", "ro-crate-metadata.json"}
    known = {(row["SeriesInstanceUID"], row["label"], row["license_short_name"], row["patient"]) for row in rows}
    assert known == {
        ("1.2.3.3.1", "l3", "", "001"),
        ("1.2.3.1.1", "l1", "CC BY 4.0", "002"),
        ("1.2.3.2.1", "l2", "", "002"),
    }
    assert "PatientName" not in rows[0]


def test_licence_and_source_stand_beside_the_members(cohort):
    table = cohort.df().set_index("label")
    assert table.loc["l1", ["license_short_name", "source_doi"]].tolist() == ["CC BY 4.0", "10.7937/abc"]
    assert table.loc[["l2", "l3"], "license_short_name"].isna().all()


@pytest.mark.parametrize("written", ["nifti", "zarr", "bids"])
def test_volumes_do_not_say_who_the_patient_is(pacs, tmp_path, written):
    cohort = pacs.freeze(
        pd.DataFrame({"SeriesInstanceUID": ["1.2.3.1.1", "1.2.3.4.1"], "bids": [None, "anat/T1w"]}), name="private"
    )
    assert cohort.export(tmp_path / "out", format=written).series >= 1
    for name, data in _files(tmp_path / "out").items():
        for secret in ("Grace", "Hopper", "SECRET", "1906", "2001", "escaped", "P4"):
            assert secret not in name
            assert secret.encode() not in data


def test_a_query_that_may_name_a_patient_is_not_told(pacs, tmp_path):
    sources = {
        "sql": pacs.sql("from series where PatientID = 'SECRET-17'"),
        "search": pacs.search("series", Modality="CT", PatientID="SECRET*", where="PatientID = 'SECRET-17'"),
    }
    for name, found in sources.items():
        pacs.freeze(found, name=name).export(tmp_path / name, format="nifti")
        assert "SECRET" not in (tmp_path / name / "ro-crate-metadata.json").read_text()
    told = _graph(tmp_path / "search")["#cohort"]["description"]
    assert told == "Series found by a query; Modality: CT; PatientID as asked for; where."


def test_an_error_of_others_is_told_by_its_kind_alone(cohort, tmp_path, monkeypatch):
    def failing(*_: object, **__: object) -> None:
        raise ValueError("Grace Hopper is no number")

    monkeypatch.setattr("researchpacs.volume.read_volume", failing)
    report = cohort.export(tmp_path / "out", format="nifti")
    assert {row["error"] for row in _manifest(tmp_path / "out")} == {"ValueError, which no one expected"}
    assert "Grace" in str(report.rows[0].cause)


def test_zarr_comes_back_as_the_volume_it_was(pacs, cohort, tmp_path):
    cohort.export(tmp_path / "out", format="zarr")
    vol = rp.read_volume(pacs.series("1.2.3.3.1"))
    with xr.open_zarr(tmp_path / "out" / "patient-001" / "study-001" / "series-001.zarr") as opened:
        back = rp.restore(opened["image"]).load()
    np.testing.assert_array_equal(back.values, vol.values)
    np.testing.assert_array_equal(back.dicom.affine_lps, vol.dicom.affine_lps)
    assert back.dicom.frame_of_reference_uid == vol.dicom.frame_of_reference_uid
    assert float((back - vol).max()) == 0


def test_a_dry_run_writes_nothing_and_says_what_it_would(cohort, tmp_path):
    for written in ("dicom", "nifti", "zarr", "bids"):
        told = cohort.export(tmp_path / written, format=written, dry_run=True)
        assert not (tmp_path / written).exists()
        done = cohort.export(tmp_path / written, format=written)
        assert told.df()["error"].tolist() == done.df()["error"].tolist()
        assert told.dry_run
        assert not done.dry_run
        if written == "dicom":
            on_disk = [data for name, data in _files(tmp_path / written).items() if name.endswith(".dcm")]
            assert told.bytes == done.bytes == sum(map(len, on_disk))
        elif written != "bids":
            assert told.bytes == sum(rp.read_volume(series).nbytes for series in cohort)


def test_a_second_run_does_nothing_and_brings_back_what_was_lost(cohort, tmp_path):
    out = tmp_path / "out"
    cohort.export(out, format="dicom")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")}
    assert cohort.export(out, format="dicom").was_there == 3
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")} == before
    lost, cut = sorted(before)[0], sorted(before)[-1]
    expected = lost.read_bytes(), cut.read_bytes()
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    assert cohort.export(out, format="dicom").was_there == 1
    assert (lost.read_bytes(), cut.read_bytes()) == expected


def test_after_a_kill_only_the_rest_is_written(pacs, cohort, tmp_path):
    script = """
import os, signal, sys
import researchpacs as rp
from researchpacs.cohort.export._record import Record
add, done = Record.add, []
def then_die(self, member, files):
    if len(done) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    add(self, member, files)
    done.append(member)
Record.add = then_die
rp.connect(sys.argv[1]).cohort("three").export(sys.argv[2], format="nifti", workers=1)
"""
    out = tmp_path / "out"
    arguments = [sys.executable, "-c", script, str(pacs.home), str(out)]
    killed = subprocess.run(arguments, capture_output=True, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    with (out / ".export.jsonl").open("ab") as file:
        file.write(b'{"series": "half a li')
    first = out / "patient-001" / "study-001" / "series-001.nii.gz"
    written_at = first.stat().st_mtime_ns
    report = cohort.export(out, format="nifti")
    assert (report.series, report.was_there) == (3, 1)
    assert first.stat().st_mtime_ns == written_at
    assert cohort.export(out, format="nifti").was_there == 3
    assert not (out / ".partial").exists()
    whole = cohort.export(tmp_path / "whole", format="nifti")
    assert [row.files for row in whole.rows] == [row.files for row in report.rows]


def test_a_folder_that_is_not_ours_is_left_alone(pacs, cohort, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidInputError, match="not empty"):
        cohort.export(theirs, format="dicom")
    with pytest.raises(InvalidInputError, match="no folder"):
        cohort.export(theirs / "thesis.txt", format="dicom")
    assert (theirs / "thesis.txt").read_text() == "mine"
    cohort.export(tmp_path / "out", format="dicom")
    for other, written in ((cohort, "nifti"), (pacs.freeze(["1.2.3.1.1"], name="one"), "dicom")):
        with pytest.raises(ConflictError, match="another cohort"):
            other.export(tmp_path / "out", format=written)
    with pytest.raises(InvalidInputError, match="expected 'dicom'"):
        cohort.export(tmp_path / "new", format="jpeg")
    assert not (tmp_path / "new").exists()


def test_a_series_that_changed_or_left_is_a_row_and_the_others_go_on(tmp_path):
    with rp.connect(tmp_path / "home") as pacs:
        pacs.ingest([*_series(1), *_series(2), *_series(3)])
        cohort = pacs.freeze(pacs.search("series", order="SeriesInstanceUID"), name="all")
        pacs.delete(pacs.series("1.2.3.1.1"))
        pacs.delete(pacs.search("instance", SOPInstanceUID="1.2.3.2.1.2").one())
        report = cohort.export(tmp_path / "out", format="dicom")
        assert [(one.error or "")[:12] for one in report.rows] == ["NotFoundErro", "InvalidInput", ""]
        assert [row["error"][:12] for row in _manifest(tmp_path / "out") if row["error"]] == [
            "NotFoundErro",
            "InvalidInput",
        ]


def test_a_part_of_a_cohort_is_exported_like_the_whole(cohort, tmp_path):
    train, test = cohort.split({"train": 0.5, "test": 0.5}, seed=1)
    both = [one.export(tmp_path / one.name, format="dicom") for one in (train, test)]
    assert sum(one.series for one in both) == 3
    assert (tmp_path / "train" / "ro-crate-metadata.json").exists()


# -- the description ---------------------------------------------------------------------------------------------------


def _graph(folder: Path) -> dict[str, dict[str, Any]]:
    described = json.loads((folder / "ro-crate-metadata.json").read_text())
    assert described["@context"] == "https://w3id.org/ro/crate/1.1/context"
    return {one["@id"]: one for one in described["@graph"]}


# Of the context of RO-Crate 1.1, those that an export may use.
CONTEXT = {
    *("about", "agent", "author", "citation", "conformsTo", "contentSize", "creator", "dateCreated", "datePublished"),
    *("description", "encodingFormat", "endTime", "hasPart", "identifier", "instrument", "isBasedOn", "license"),
    *("mentions", "name", "object", "result", "softwareVersion", "url", "version"),
    *("CreateAction", "CreativeWork", "Dataset", "File", "Person", "SoftwareApplication"),
}


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _references(one)
    elif isinstance(value, dict) and set(value) == {"@id"}:
        yield value["@id"]


@pytest.mark.parametrize("written", ["dicom", "nifti"])
def test_the_description_holds_together_and_names_licence_source_and_provenance(cohort, tmp_path, written):
    out = tmp_path / "out"
    cohort.export(out, format=written)
    graph = _graph(out)
    root = graph["./"]
    assert root["name"] == "three"
    assert "For the test." in root["description"]
    assert root["identifier"] == f"sha256:{cohort.digest}"
    assert {name for one in graph.values() for name in (*one, one["@type"]) if name[0] != "@"} <= CONTEXT
    for entity in graph.values():
        for name, value in entity.items():
            assert all(one in graph or name == "conformsTo" for one in _references(value))
    parts = set(_references(root["hasPart"]))
    assert {name.rstrip("/") for name in parts} <= {path.relative_to(out).as_posix() for path in out.rglob("*")}
    assert set(_references(root["license"])) == {"https://creativecommons.org/licenses/by/4.0/", "#no-licence"}
    assert set(_references(root["citation"])) == {"https://doi.org/10.7937/abc"}
    licensed = [one for one in parts if "license" in graph[one]]
    assert {graph[one]["identifier"] for one in licensed} == {"urn:oid:1.2.3.1.1"}
    assert graph["#export"]["instrument"] == {"@id": "#researchpacs"}
    assert graph["#cohort"]["dateCreated"] == cohort.created_at


def test_the_licence_that_is_given_stands_for_all(cohort, tmp_path):
    cohort.export(tmp_path / "out", format="dicom", licence="CC0 1.0")
    root = _graph(tmp_path / "out")["./"]
    assert root["license"] == {"@id": "https://creativecommons.org/publicdomain/zero/1.0/"}
    with pytest.raises(InvalidInputError, match="licence="):
        cohort.export(tmp_path / "new", format="dicom", licence="\n")


# -- real data ---------------------------------------------------------------------------------------------------------

REAL = {
    "T1": ("mr_ge_t1_dwi", "5_3D_Ax_T1_MP-RAGE_R22.nii"),
    "PET": ("petct_mr_rtstruct_sts_002", "4_IBSI_1_STS_002_PET_image.nii"),
    "MR": ("petct_mr_rtstruct_sts_002", "6564013_IBSI_1_STS_002_MR_T1_image.nii"),
    "CT": ("petct_mr_rtstruct_sts_002", "3_IBSI_1_STS_002_CT_image.nii"),
    "phantom": ("digital_phantom_orientation", "1_orientation.nii"),
    "diffusion": ("mr_ge_t1_dwi", "1_Ax_DWI_TENSOR_R2.nii"),
    "mosaic": ("mr_fmri_4d", "3_EPI_PE=AP.nii"),
    "function": ("mr_fmri_4d", "4_Axial_EPI-FMRI_(Interleaved_I_to_S).nii"),
}


@pytest.fixture(scope="module")
def real(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cohort]:
    """Series of several scanners; the cohort says what BIDS calls three of them."""
    names = ("MR_T1/image", "PET/image", "CT/image", "dicom/orientation")
    folders = [path for name in names for path in real_data.glob(f"*/{name}")]
    folders += [real_data / name for name in ("mr_ge_t1_dwi", "mr_fmri_4d", "mr_enhanced")]
    assert len(folders) == 7
    with rp.connect(tmp_path_factory.mktemp("real") / "home") as pacs:
        pacs.ingest(folders)
        table = pacs.sql(
            "select SeriesInstanceUID, case when SeriesDescription like '%_MR_%' then 'anat/acq-sts_T1w' "
            "when SeriesDescription like '%EPI%' then 'func/acq-ep_task-rest_bold' end as bids "
            "from series order by Modality, SeriesDescription"
        ).df()
        yield pacs.freeze(table, name="real")


@pytest.fixture(scope="module")
def niftis(real: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("niftis") / "out"
    assert real.export(out, format="nifti").ok
    return out


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_niftis_are_where_and_what_dcm2niix_says(niftis, real_data, name):
    folder, file = REAL[name]
    known = json.loads((real_data / folder / "reference" / "dcm2niix_reference.json").read_text())
    reference = next(one for one in known["volumes"] if one["file"] == file)
    theirs = np.array(reference["affine"])
    (turned,) = [one for path in niftis.rglob("*.nii.gz") if (one := _as_theirs(nib.load(path), reference))]
    assert turned.shape == tuple(reference["shape"])
    np.testing.assert_allclose(turned.affine[:3, :3], theirs[:3, :3], atol=1e-4)
    np.testing.assert_allclose(turned.affine[:3, 3], theirs[:3, 3], atol=0.01)
    values = np.asanyarray(turned.dataobj)
    if values.dtype.kind == "i" and (reference["slope"], reference["inter"]) == (1.0, 0.0):
        stored = np.ascontiguousarray(values.astype(reference["dtype"]))
        assert hashlib.sha256(stored.tobytes()).hexdigest() == reference["sha256"]


@pytest.mark.data
def test_the_volumes_of_one_series_become_files_of_their_own(real, niftis, real_data, tmp_path):
    """A B0 map: magnitude and field, which dcm2niix writes as two files too, scaled as Philips does it privately."""
    (member,) = [one.item.member for one in real.export(niftis, format="nifti").rows if one.path.endswith("-1.nii.gz")]
    references = sorted((real_data / "mr_enhanced" / "reference").glob("Philips*.nii.gz"))
    images = sorted(niftis.rglob("series-*-?.nii.gz"))
    assert len(images) == len(references) == 2
    for image, reference in zip(map(nib.load, images), map(nib.load, references), strict=True):
        ours = nib.orientations.io_orientation(image.affine)
        turned = image.as_reoriented(
            nib.orientations.ornt_transform(ours, nib.orientations.io_orientation(reference.affine))
        )
        np.testing.assert_allclose(turned.affine, reference.affine, atol=0.01)
        alike = np.corrcoef(turned.get_fdata().ravel(), reference.get_fdata().ravel())[0, 1]
        assert alike == pytest.approx(1, abs=1e-6)
    real.part("b0", (member,)).export(tmp_path / "out", format="zarr")
    assert {path.name for path in (tmp_path / "out").rglob("*.zarr")} == {"series-001-1.zarr", "series-001-2.zarr"}
    parts = set(_references(_graph(tmp_path / "out")["./"]["hasPart"]))
    folder = "patient-001/study-001"
    assert parts == {"manifest.csv", f"{folder}/series-001-1.zarr/", f"{folder}/series-001-2.zarr/"}


def _as_theirs(image: Any, reference: Any) -> Any:
    """The image with its axes turned as the other's, where it holds the same place and the same values; else None."""
    theirs = np.array(reference["affine"])
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in image.shape[:3]], [1], indexing="ij")).reshape(4, -1)
    apart = np.linalg.norm((image.affine @ corners)[:3].T - theirs[:3, 3], axis=1).min()
    if apart > 0.01 or sorted(image.shape) != sorted(reference["shape"]):
        return None
    values = np.asanyarray(image.dataobj)
    mine = [float(values.mean(dtype=float)), float(values.min()), float(values.max())]
    close = np.isclose(mine, [reference[name] for name in ("mean", "min", "max")], rtol=1e-5, atol=1e-4)
    if not close.all():
        return None
    ours = nib.orientations.io_orientation(image.affine)
    turn = nib.orientations.ornt_transform(ours, nib.orientations.io_orientation(theirs))
    return image.as_reoriented(turn)


@pytest.mark.data
def test_bids_holds_what_is_plainly_named_and_its_validator_finds_no_error(real, tmp_path):
    out = tmp_path / "out"
    table = real.export(out, format="bids", licence="CC BY 3.0").df()
    names = {Path(path).name.partition("_ses-")[2].partition("_")[2] for path in table["path"] if path}
    assert names == {"T1w.nii.gz", "acq-sts_T1w.nii.gz", "task-rest_acq-ep_bold.nii.gz"}
    told = table[["error"]].dropna()["error"].str.split(":").str[0].value_counts().to_dict()
    # CT and PET; B0 maps, diffusion and a resting state that nobody named; and one whose times are not known.
    assert told == {"UnsupportedError": 3, "InvalidInputError": 3, "GeometryError": 1}
    (bold,) = out.rglob("*_bold.nii.gz")
    sidecar = json.loads(bold.with_name(bold.name.replace(".nii.gz", ".json")).read_text())
    assert (sidecar["TaskName"], sidecar["RepetitionTime"]) == ("rest", pytest.approx(2.435, abs=1e-3))
    assert nib.load(bold).header.get_zooms()[3] == pytest.approx(sidecar["RepetitionTime"], abs=1e-3)
    validator = Path(sys.executable).parent / "bids-validator-deno"
    done = subprocess.run(  # it ends with 1 for warnings too
        [validator, out, "--json"], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "DENO_DIR": str(tmp_path / "deno"), "NO_COLOR": "1"},
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert [one for one in found["issues"]["issues"] if one["severity"] == "error"] == []
    assert len(found["summary"]["subjects"]) == 3
    assert found["summary"]["modalities"] == ["MRI"]


@pytest.mark.parametrize(
    "wanted",
    [
        "T1w",
        "anat/T1",
        "anat/run-2_T1w",
        "anat/ce-a_ce-b_T1w",
        "anat/ce-../x_T1w",
        "func/bold",
        "dwi/dwi",
        "anat/T1w\n",
    ],
)
def test_what_bids_has_no_name_for_is_refused(pacs, tmp_path, wanted):
    table = pd.DataFrame({"SeriesInstanceUID": ["1.2.3.4.1"], "bids": [wanted]})
    cohort = pacs.freeze(table, name=f"bids {abs(hash(wanted))}")
    (row,) = cohort.export(tmp_path / "out", format="bids", dry_run=True).rows
    assert row.error.startswith("InvalidInputError: the column bids takes")
