"""Bring what is in memory or comes as a stream into the workspace, as a complete file."""

import secrets
import shutil
import warnings
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from researchpacs.ingest._check import reason_of
from researchpacs.ingest._tasks import SpooledTask
from researchpacs.model import Refusal

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["spool_dataset", "spool_stream"]


def spool_dataset(dataset: "Dataset", source: str, tmp: Path) -> SpooledTask | Refusal:
    """Write a data set with its File Meta Information; the caller's object stays as it is."""
    blob = _new_blob(tmp)
    try:
        with blob.open("xb") as file, warnings.catch_warnings():
            # Odd values are for the header scan to report; a data set in memory may hold any.
            warnings.simplefilter("ignore")
            _with_file_meta(dataset).save_as(file, enforce_file_format=True)
    except OSError as error:
        blob.unlink(missing_ok=True)
        return Refusal(source, reason_of(error))
    except Exception as error:
        blob.unlink(missing_ok=True)
        # The message may quote a value, so only its kind is told.
        return Refusal(source, f"pydicom cannot write it ({type(error).__name__}); Dataset.save_as() says why")
    return SpooledTask(source, blob)


def spool_stream(stream: BinaryIO, source: str, tmp: Path) -> SpooledTask | Refusal:
    """Copy a stream from where it stands to its end."""
    blob = _new_blob(tmp)
    try:
        with blob.open("xb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
    except OSError as error:
        blob.unlink(missing_ok=True)
        return Refusal(source, reason_of(error))
    except TypeError:
        blob.unlink(missing_ok=True)
        return Refusal(source, "a text stream; open the file in binary mode")
    except Exception as error:
        blob.unlink(missing_ok=True)
        # A stream is anyone's object: its message may quote what it read.
        return Refusal(source, f"its read() failed ({type(error).__name__}); is it open, from its start?")
    return SpooledTask(source, blob)


def _new_blob(tmp: Path) -> Path:
    return tmp / f"{secrets.token_hex(12)}.part"


def _with_file_meta(dataset: "Dataset") -> "Dataset":
    """Complete the File Meta Information (PS3.10 7.1) of a shallow copy."""
    from pydicom.dataset import FileMetaDataset

    complete = copy(dataset)
    meta = copy(getattr(dataset, "file_meta", None)) or FileMetaDataset()
    if "TransferSyntaxUID" not in meta:
        meta.TransferSyntaxUID = _transfer_syntax(dataset)
    complete.file_meta = meta
    return complete


def _transfer_syntax(dataset: "Dataset") -> str:
    """As the data set was read; explicit little endian for one made in memory."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    implicit, little_endian = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRBigEndian if little_endian is False else ExplicitVRLittleEndian
