"""Conversion on the way in: ``ingest(..., convert=...)``, and whom instances belong to."""

import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import EncapsulatedPDFStorage, MRImageStorage

import researchpacs as rp
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import InvalidInputError

PDF = b"%PDF-1.4\n%%EOF\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as people have them: DICOM, other formats, and a text."""
    folder = tmp_path / "mixed"
    (folder / "below").mkdir(parents=True)
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4))
    image.set_sform(np.eye(4), 1)
    nib.save(image, folder / "below" / "t1.nii.gz")
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(folder / "photo.png")
    (folder / "report.pdf").write_bytes(PDF)
    (folder / "notes.txt").write_text("nothing to see")
    chest = sorted(Path(rp.datasets.path("chest_ct", slices=4)).iterdir())[0]
    (folder / "image.dcm").write_bytes(chest.read_bytes())
    return folder


def test_without_convert_the_refusal_names_it(home, folder):
    with rp.connect(home) as pacs:
        report = pacs.ingest(folder, progress=False)
        assert (report.stored, report.refused) == (1, 4)
        reasons = report.df().set_index("path").reason
        for name, kind in {"photo.png": "PNG", "report.pdf": "PDF", "below/t1.nii.gz": "NIfTI"}.items():
            assert f"the file is {kind}" in reasons[str(folder / name)]
            assert "convert=" in reasons[str(folder / name)]
        assert "convert" not in reasons[str(folder / "notes.txt")]
        with pytest.raises(InvalidInputError, match="convert="):
            pacs.ingest(folder / "photo.png")


def test_a_mixed_folder_goes_in_at_once_and_twice_the_same(home, folder):
    with rp.connect(home) as pacs:
        study = pacs.ingest(folder / "image.dcm").series[0].study
        options = {"like": study, "modality": "MR", "description": "from elsewhere"}
        (folder / "photo.png").rename(folder / "photo")  # a name says nothing
        report = pacs.ingest(folder, convert=options)
        assert (report.stored, report.duplicates, report.refused) == (7, 1, 1)
        again = pacs.ingest(folder, convert=options)
        assert (again.stored, again.duplicates, again.refused) == (0, 8, 1)
        classes = {row[0] for row in pacs.sql("select distinct SOPClassUID from instances").fetchall()}
        assert len(classes) == 4
        modalities = dict(
            pacs.sql("select SOPClassUID, Modality from instances join series using (SeriesInstanceUID)").fetchall()
        )
        assert modalities[EncapsulatedPDFStorage] == "DOC"
        assert modalities[MRImageStorage] == "MR"
        assert len(study.series) == 4
        assert pacs.sql("select count(*) from studies").fetchall() == [(1,)]


def test_a_damaged_file_is_a_row_in_the_report(home, folder):
    (folder / "report.pdf").write_bytes(PDF[:-5])
    with rp.connect(home) as pacs:
        report = pacs.ingest(folder, convert={"attributes": {"PatientID": "A17"}, "modality": "MR"})
        assert report.refused == 2
        assert "truncated" in report.df().set_index("path").reason[str(folder / "report.pdf")]


@pytest.mark.parametrize("options", [{"lke": 1}, {"affine_lps": np.eye(4)}, {}, {"attributes": {"PatientId": "x"}}, 7])
def test_options_are_checked_before_anything_is_read(pacs, options):
    with pytest.raises(InvalidInputError):
        pacs.ingest("no-such-folder", convert=options)
    with pytest.raises(InvalidInputError, match="no such file"):
        pacs.ingest("no-such-folder")


def test_somebody_has_to_be_named():
    with pytest.raises(InvalidInputError, match="whose is it"):
        rp.to_dicom(np.zeros((4, 4), np.uint8))
    for options in ({"attributes": {"PatientID": " "}}, {"like": Dataset()}):
        with pytest.raises(InvalidInputError, match="whose is it"):
            rp.to_dicom(np.zeros((4, 4), np.uint8), **options)


def test_what_like_says_cannot_be_said_again(series):
    with pytest.raises(InvalidInputError, match="PatientID: like= says that already"):
        rp.to_dicom(np.zeros((4, 4), np.uint8), like=series, attributes={"PatientID": "other"})


@pytest.mark.parametrize("keyword", ["Rows", "SOPClassUID", "SOPInstanceUID", "PixelData", "Modality"])
def test_what_the_source_holds_cannot_be_said(keyword):
    with pytest.raises(InvalidInputError):
        rp.to_dicom(np.zeros((4, 4), np.uint8), attributes={"PatientID": "A17", keyword: "1"})


def test_a_misspelt_keyword_is_told_with_the_right_one():
    with pytest.raises(InvalidInputError, match="PatientBirthDate"):
        rp.to_dicom(np.zeros((4, 4), np.uint8), attributes={"PatientID": "A17", "PatientBirthdate": "19700101"})


def test_a_value_that_does_not_fit_is_refused_without_telling_it(caplog):
    with pytest.raises(InvalidInputError) as caught:
        rp.to_dicom(np.zeros((4, 4), np.uint8), attributes={"PatientID": "A17", "PatientBirthDate": "yesterday"})
    assert "yesterday" not in str(caught.value) + caplog.text


@pytest.mark.parametrize("level", ["patient", "study", "series", "instance", "dataset"])
def test_every_level_gives_what_it_knows(pacs, series, level):
    like = {
        "patient": pacs.search("patient").first(),
        "study": series.study,
        "series": series,
        "instance": series.instances[0],
        "dataset": series.header(),
    }[level]
    (ds,) = rp.to_dicom(np.zeros((4, 4), np.uint8), like=like)
    header = series.header()
    assert (ds.PatientID, ds.PatientName, ds.PatientBirthDate) == (
        header.PatientID,
        header.PatientName,
        header.PatientBirthDate,
    )
    assert (ds.StudyInstanceUID == header.StudyInstanceUID) == (level != "patient")
    assert ds.get("InstitutionName") is None
    assert "FrameOfReferenceUID" not in ds


@pytest.mark.data
def test_odd_values_of_other_equipment_are_kept_and_not_told(real_data, written, recwarn, caplog):
    """A text longer than its attribute allows: the study has to stay one study."""
    like = next((real_data / "petct_mr_rtstruct_sts_002").rglob("*.dcm"))
    made = rp.to_dicom(np.zeros((4, 4), np.uint8), like=dcmread(like))
    assert not recwarn.list
    assert not caplog.records
    (file,) = written(made).iterdir()
    ours, theirs = dcmread(file, stop_before_pixels=True), dcmread(like, stop_before_pixels=True)
    with reading_quietly():
        odd = [e.keyword for e in theirs if e.VR == "SH" and e.keyword in ours and len(str(e.value)) > 16]
        assert odd
        assert all(ours[keyword].value == theirs[keyword].value for keyword in odd)


def test_the_first_result_takes_others_into_its_study():
    (first,) = rp.to_dicom(np.zeros((4, 4), np.uint8), attributes={"PatientID": "A17", "StudyDescription": "skin"})
    (second,) = rp.to_dicom(np.ones((4, 4), np.uint8), like=first)
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert second.StudyDescription == "skin"
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_names_of_all_scripts_are_written_in_utf_8(written, errors_of):
    like = Dataset()
    like.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    like.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    like.PatientID, like.StudyInstanceUID = "A17", "1.2.3"
    made = rp.to_dicom(np.zeros((4, 4), np.uint8), like=like, description="Größe")
    (file,) = written(made).iterdir()
    ds = dcmread(file)
    assert ds.SpecificCharacterSet == "ISO_IR 192"
    assert ds.PatientName == like.PatientName
    assert "山田".encode() in file.read_bytes()
    assert errors_of(made) == []


def test_dcentvfy_finds_no_contradiction_in_the_study(series, written):
    """Patient, study, series and frame of reference say the same in every instance that names them."""
    if not shutil.which("dcentvfy"):
        pytest.skip("dcentvfy is missing: apt-get install dicom3tools")
    chest = [dcmread(file) for file in sorted(Path(rp.datasets.path("chest_ct", slices=4)).iterdir())]
    made = rp.to_dicom(rp.read_volume(series), like=series, description="again")
    made += rp.to_dicom(rp.read_volume(series).astype("float32"), like=series.study, modality="MR")
    made += rp.to_dicom(np.zeros((4, 4), np.uint8), like=series)
    files = sorted(written([*chest, *made]).iterdir())
    verdict = subprocess.run(["dcentvfy", *files], capture_output=True, text=True, check=False)
    assert verdict.stdout + verdict.stderr == ""
    made[0].PatientBirthDate = "19000101"
    files = sorted(written([*chest, *made]).iterdir())
    verdict = subprocess.run(["dcentvfy", *files], capture_output=True, text=True, check=False)
    assert "PatientBirthDate" in verdict.stdout + verdict.stderr  # it does look


def test_other_bytes_another_patient_or_another_option_make_other_instances():
    pixels = np.zeros((4, 4), np.uint8)
    a17 = {"PatientID": "A17"}
    made = [
        rp.to_dicom(pixels, attributes=a17),
        rp.to_dicom(pixels + 1, attributes=a17),
        rp.to_dicom(pixels, attributes={"PatientID": "A18"}),
        rp.to_dicom(pixels, attributes=a17, modality="XC"),
        rp.to_dicom(pixels, attributes=a17, description="x"),
    ]
    assert len({ds.SOPInstanceUID for (ds,) in made}) == len(made)
    assert rp.to_dicom(pixels, attributes=a17)[0].SOPInstanceUID == made[0][0].SOPInstanceUID
