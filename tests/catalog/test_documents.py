"""The words of encapsulated documents stand in reports; a document that is made to do harm does none."""

import os
import sys
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pypdf import PdfReader, PdfWriter

from researchpacs.catalog import _documents
from researchpacs.testing import small_ct

from .conftest import Filled
from .test_objects import beside

WORDS = ("Discharge letter", "No acute finding in the chest.", "Follow up in 12 months (CT).")


def pdf(*lines: str, stream: bytes | None = None, filters: bytes = b"") -> bytes:
    """A document of one page that shows lines, written by hand (ISO 32000-1, 7.5)."""
    escaped = [line.replace("(", "\\(").replace(")", "\\)") for line in lines]
    shown = " ".join(f"({line}) Tj 0 -14 Td" for line in escaped)
    content = stream if stream is not None else f"BT /F1 12 Tf 50 700 Td {shown} ET".encode("latin-1")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), filters, content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    file, places = BytesIO(), []
    file.write(b"%PDF-1.7\n")
    for number, body in enumerate(objects, 1):
        places.append(file.tell())
        file.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = file.tell()
    file.write(b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places))
    file.write(b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start)
    return file.getvalue()


def document(data: bytes, uid: str = "2.25.501", mime: str = "application/pdf") -> Dataset:
    ds = beside(small_ct(1), uid, "1.2.840.10008.5.1.4.1.1.104.1")
    ds.Modality, ds.MIMETypeOfEncapsulatedDocument, ds.EncapsulatedDocumentLength = "DOC", mime, len(data)
    ds.EncapsulatedDocument = data + bytes(len(data) % 2)
    return ds


def told(filled: Filled) -> list[str]:
    query = "select problem from issues where keyword = 'EncapsulatedDocument'"
    return [problem for (problem,) in filled.catalog.sql(query).fetchall()]


def text(filled: Filled) -> str | None:
    ((found,),) = filled.catalog.sql("select report_text from reports").fetchall()
    return found


def test_the_words_of_a_pdf_are_in_reports(filled: Filled) -> None:
    filled.take(document(pdf(*WORDS)))
    assert (text(filled) or "").split("\n") == list(WORDS)
    assert told(filled) == []


def test_made_anew_they_are_the_same(filled: Filled) -> None:
    filled.take(document(pdf(*WORDS)))
    before = filled.catalog.sql("from reports").fetchall()
    filled.catalog.sync(rebuild=True)
    assert filled.catalog.sql("from reports").fetchall() == before


def test_the_words_of_a_cda_document_are_in_reports(filled: Filled) -> None:
    words = ("<title>Befund</title>", "<text>Kein  Rundherd.\n</text>", "<text>Größe 7 &lt; 8 mm</text>")
    cda = f'<?xml version="1.0" encoding="UTF-8"?><ClinicalDocument xmlns="urn:hl7-org:v3">{"".join(words)}'
    cda += "</ClinicalDocument>"
    filled.take(document(cda.encode(), mime="text/XML"))
    assert text(filled) == "Befund\nKein Rundherd.\nGröße 7 < 8 mm"


def test_a_document_of_another_type_is_described_only(filled: Filled) -> None:
    filled.take(document(b"solid cube", mime="model/stl"))
    assert (text(filled), told(filled)) == (None, [])


def encrypted() -> bytes:
    writer, file = PdfWriter(), BytesIO()
    writer.append(PdfReader(BytesIO(pdf(*WORDS))))
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(file)
    return file.getvalue()


def expanding() -> bytes:
    """Half a gigabyte of nothing."""
    packer, packed = zlib.compressobj(9), BytesIO()
    for _ in range(512):
        packed.write(packer.compress(bytes(1 << 20)))
    return pdf(stream=packed.getvalue() + packer.flush(), filters=b"/Filter /FlateDecode")


def endless() -> bytes:
    """A page of some million operators."""
    return pdf(stream=b"BT /F1 1 Tf " + b"(a) Tj " * 6_000_000 + b"ET")


def entities() -> bytes:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">{levels}]><x>&e11;</x>'.encode()


HOSTILE = {
    "encrypted": (encrypted, "application/pdf", "is encrypted"),
    "expanding": (expanding, "application/pdf", "its text was not read"),
    "endless": (endless, "application/pdf", "takes more time"),
    "empty": (lambda: b"%PDF-1.7\nnothing", "application/pdf", "is no document"),
    "entities": (entities, "text/xml", "is no document"),
    "long": (lambda: pdf(*WORDS) + bytes(1 << 20), "application/pdf", "more than 1 MiB"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are missing: only its clock bounds it there")
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_document_that_cannot_be_read_is_kept_and_told(
    filled: Filled, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, mime, problem = HOSTILE[kind]
    monkeypatch.setattr(_documents, "MOST_SECONDS", 2)
    if kind == "long":
        monkeypatch.setattr(_documents, "MOST_BYTES", 1 << 20)
    data = make()
    filled.take([document(data, mime=mime), small_ct(1)])
    assert text(filled) is None
    (said,) = told(filled)
    assert problem in said
    assert not any(word in said for word in WORDS)
    assert filled.catalog.sql("select count(*) from instances").fetchall() == [(2,)]


def test_without_the_library_the_way_to_it_is_told(
    filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pypdf.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    filled.take(document(pdf(*WORDS)))
    assert text(filled) is None
    assert ["researchpacs[pdf]" in problem for problem in told(filled)] == [True]
