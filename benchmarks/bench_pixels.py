"""Decode a CT of 512 x 512, compressed without loss in five ways: ours, and pydicom with each of its plugins."""

import json
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from _measure import Clock, alternately, clock
from _row import Row
from _series import ingested, open_series, write_ct

SLICES = 48
SYNTAXES = {
    "JPEG 2000": ("1.2.840.10008.1.2.4.90", 1.2),
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", 1.6),
    "JPEG Lossless": ("1.2.840.10008.1.2.4.70", 1.8),
    "RLE": ("1.2.840.10008.1.2.5", 2.3),
    "HTJ2K": ("1.2.840.10008.1.2.4.201", 2.8),
}
"""Transfer syntax, and how many times the best plugin."""


def rows() -> Iterable[Row]:
    versions = {
        name: version(name) for name in ("researchpacs", "imagecodecs", "pydicom", "pylibjpeg-openjpeg",
                                         "pylibjpeg-rle", "pyjpegls", "python-gdcm")
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        home = root / "home"
        for name, (syntax, target) in SYNTAXES.items():
            files, warm = root / name, root / f"{name} warm"
            uid, warm_uid = write_compressed(files, SLICES, syntax), write_compressed(warm, 2, syntax)
            ingested(files, home)
            ingested(warm, home)
            given = json.dumps({
                "home": str(home), "files": str(files), "uid": uid, "warm": str(warm), "warm_uid": warm_uid,
            })  # fmt: skip
            peers = [plugin for plugin in ("gdcm", "pylibjpeg", "pyjpegls", "pillow") if plugin in plugins_of(syntax)]
            ours, *theirs = alternately(ours_read, *(PEERS[plugin] for plugin in peers), given=given)
            best = min(range(len(peers)), key=lambda k: theirs[k].seconds)
            ratio = theirs[best].seconds / ours.seconds
            yield Row(
                f"read_volume, CT 512x512x{SLICES}, {name}", ours.seconds,
                f"pydicom, plugin {peers[best]}, the fastest of {', '.join(peers)}", theirs[best].seconds,
                f"ratio >= {target}", ratio >= target, None, ours.rounds, versions,
                (ours.slowest, theirs[best].slowest),
            )  # fmt: skip


def plugins_of(syntax: str) -> tuple[str, ...]:
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    return tuple(get_decoder(UID(syntax)).available_plugins)


def write_compressed(folder: Path, slices: int, syntax: str) -> str:
    """Write a CT of bodies with noise, as scanners see them; the SeriesInstanceUID."""
    import pydicom
    from pydicom.encaps import encapsulate
    from pydicom.uid import generate_uid

    uid = write_ct(folder, slices=slices)
    chance = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    for k, path in enumerate(sorted(folder.iterdir())):
        ds = pydicom.dcmread(path)
        ds.SeriesInstanceUID = generate_uid(entropy_srcs=[uid, syntax])
        ds.SOPInstanceUID = generate_uid(entropy_srcs=[uid, syntax, str(k)])
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        body = np.where(x**2 / 0.7 + y**2 / 0.4 < 1, 1060, 24)
        body = np.where((x - 0.3) ** 2 + (y + 0.01 * k / slices) ** 2 < 0.05, 200, body)
        body = np.where(x**2 + (y - 0.4) ** 2 < 0.01, 1900, body)
        plane = (body + chance.normal(0, 12, body.shape)).clip(0, 4095).astype(np.uint16)
        ds.PixelData = encapsulate([encoded(plane, syntax)])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        ds.file_meta.TransferSyntaxUID = syntax
        ds.save_as(path, enforce_file_format=True)
    return str(ds.SeriesInstanceUID)


def encoded(plane: np.ndarray, syntax: str) -> bytes:
    import imagecodecs
    from pydicom.pixels.encoders import RLELosslessEncoder

    encoders: dict[str, Callable[[], bytes]] = {
        "90": lambda: imagecodecs.jpeg2k_encode(plane, codecformat="J2K", reversible=True, level=0),
        "80": lambda: imagecodecs.jpegls_encode(plane),
        "70": lambda: imagecodecs.ljpeg_encode(plane, bitspersample=12),
        "201": lambda: imagecodecs.htj2k_encode(plane, reversible=True),
        "5": lambda: RLELosslessEncoder.encode(
            plane.tobytes(), rows=512, columns=512, samples_per_pixel=1, number_of_frames=1, bits_allocated=16,
            bits_stored=12, pixel_representation=0, photometric_interpretation="MONOCHROME2",
        ),
    }  # fmt: skip
    return encoders[syntax.rpartition(".")[2]]()


def ours_read(given: str) -> Clock:
    import researchpacs as rp

    at = json.loads(given)
    series = open_series(Path(at["home"]), at["uid"])
    rp.read_volume(open_series(Path(at["home"]), at["warm_uid"]))
    with clock() as found:
        vol = rp.read_volume(series)
    assert vol.shape == (SLICES, 512, 512)
    return found


def peer_read(given: str, plugin: str) -> Clock:
    import pydicom

    at = json.loads(given)

    def read(folder: str) -> np.ndarray:
        paths = sorted(Path(folder).iterdir())
        volume = np.empty((len(paths), 512, 512), np.int16)
        for plane, path in zip(volume, paths, strict=True):
            ds = pydicom.dcmread(path)
            ds.pixel_array_options(decoding_plugin=plugin)
            np.add(ds.pixel_array, np.int16(ds.RescaleIntercept), out=plane, casting="unsafe")
        return volume

    read(at["warm"])
    with clock() as found:
        assert read(at["files"]).shape == (SLICES, 512, 512)
    return found


def gdcm_read(given: str) -> Clock:
    return peer_read(given, "gdcm")


def pylibjpeg_read(given: str) -> Clock:
    return peer_read(given, "pylibjpeg")


def pyjpegls_read(given: str) -> Clock:
    return peer_read(given, "pyjpegls")


def pillow_read(given: str) -> Clock:
    return peer_read(given, "pillow")


PEERS = {"gdcm": gdcm_read, "pylibjpeg": pylibjpeg_read, "pyjpegls": pyjpegls_read, "pillow": pillow_read}
