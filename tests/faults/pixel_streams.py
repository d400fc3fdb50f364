"""Decodes mutated pixel streams one after another; a process of its own, for a codec that crashes takes it along.

``python pixel_streams.py FIRST COUNT LOG``: case by case, the last line of the log names the one at work. The last
line of the output has what became of them.
"""

import json
import random
import re
import struct
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time

import imagecodecs
import numpy as np
from pydicom.pixels.encoders import RLELosslessEncoder

from researchpacs.dicom.encapsulation import frame_ranges
from researchpacs.dicom.pixels import PixelLayout, decode_frame, stored_dtype
from researchpacs.errors import PixelDataError

SYNTAXES = {name: f"1.2.840.10008.1.2.{tail}" for name, tail in {
    "native": "1", "jpeg": "4.50", "jpeg 12": "4.51", "jpeg lossless": "4.70", "jpeg-ls": "4.80",
    "jpeg-ls lossy": "4.81", "jpeg 2000": "4.90", "htj2k": "4.201", "rle": "5", "deflated": "8.1",
}.items()}  # fmt: skip
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)
NUMBERS = (0, 1, 7, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF)


@dataclass(frozen=True)
class Stream:
    """Sound pixels: frames as a codec wrote them."""

    name: str
    layout: PixelLayout
    frames: tuple[bytes, ...]


def streams() -> list[Stream]:
    """One of every codec, grey and colour, signed and not."""
    chance = np.random.default_rng(1)
    smooth = np.add.outer(np.arange(48), np.arange(64)) * 9
    grey = ((smooth + chance.integers(0, 60, smooth.shape)) % 4096).astype(np.uint16)
    small = (grey >> 4).astype(np.uint8)
    rgb = np.stack([small, small[::-1], 255 - small], axis=-1)
    found = []

    def add(name: str, values: np.ndarray, encode: Callable[[np.ndarray], bytes], **told: object) -> None:
        bits = 8 * values.itemsize
        layout = PixelLayout(
            SYNTAXES[name], values.shape[0], values.shape[1], 3 if values.ndim == 3 else 1, bits,
            12 if bits == 16 else bits, int(values.dtype.kind == "i"), "RGB" if values.ndim == 3 else "MONOCHROME2", 0,
        )  # fmt: skip
        found.append(Stream(name, replace(layout, **told), (encode(values), encode(np.roll(values, 5)))))

    signed = grey.astype(np.int16) - 2048
    for values in (grey, small, rgb):
        add("native", values, lambda one: one.tobytes())
        add("deflated", values, lambda one: deflated(one.tobytes()))
        add("rle", values, rle)
        add("jpeg-ls", values, imagecodecs.jpegls_encode)
        add(
            "jpeg 2000", values, lambda one: imagecodecs.jpeg2k_encode(one, codecformat="J2K", reversible=True, level=0)
        )
        add("htj2k", values, lambda one: imagecodecs.htj2k_encode(one, reversible=True))
    add("jpeg", small, lambda one: imagecodecs.jpeg8_encode(one, level=90))
    add("jpeg", rgb, lambda one: imagecodecs.jpeg8_encode(one, level=90), photometric_interpretation="YBR_FULL_422")
    add("jpeg-ls lossy", grey, lambda one: imagecodecs.jpegls_encode(one, level=2))
    add("jpeg lossless", grey, lambda one: imagecodecs.ljpeg_encode(one, bitspersample=12))
    add("jpeg 2000", signed, lambda one: imagecodecs.jpeg2k_encode(one, codecformat="JP2", reversible=True, level=0))
    return found


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


def rle(values: np.ndarray) -> bytes:
    samples = values.shape[2] if values.ndim == 3 else 1
    return RLELosslessEncoder.encode(
        values.tobytes(), encoding_plugin="pydicom", rows=values.shape[0], columns=values.shape[1],
        samples_per_pixel=samples, number_of_frames=1, bits_allocated=8 * values.itemsize,
        bits_stored=8 * values.itemsize, pixel_representation=0, planar_configuration=0 if samples == 3 else None,
        photometric_interpretation="RGB" if samples == 3 else "MONOCHROME2",
    )  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, most of them where codecs keep their headers; a piece cut out, doubled, or cut off."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        if not changed:
            break
        at = chance.randrange(min(len(changed), chance.choice((24, 96, 1 << 30))))
        kind = chance.randrange(7)
        if kind == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at] = chance.choice(EDGES)
        elif kind == 2:
            order = chance.choice("<>")
            changed[at : at + 4] = struct.pack(f"{order}I", chance.choice(NUMBERS))
        elif kind == 3:
            changed[at : at + 2] = struct.pack(chance.choice("<>") + "H", chance.choice(NUMBERS[:5]))
        elif kind == 4:
            del changed[at : at + chance.randrange(1, 40)]
        elif kind == 5:
            piece = changed[at : at + chance.randrange(1, 40)]
            changed[at:at] = piece
        else:
            del changed[chance.randrange(len(changed)) :]
    return bytes(changed)


def lied(layout: PixelLayout, chance: random.Random) -> PixelLayout:
    """A header that says something else of the same pixels."""
    lies = {
        "rows": (1, 47, 49, 5_000, 65_535), "columns": (1, 63, 65, 5_000, 65_535), "samples_per_pixel": (1, 3, 4),
        "bits_allocated": (1, 8, 16, 32, 64), "bits_stored": (1, 7, 16, 64), "pixel_representation": (0, 1),
        "number_of_frames": (1, 3, 1000, 2**31 - 1), "transfer_syntax_uid": tuple(SYNTAXES.values()),
        "photometric_interpretation": ("MONOCHROME2", "RGB", "YBR_FULL", "YBR_RCT", "PALETTE COLOR", "ARGB"),
        "planar_configuration": (0, 1),
    }  # fmt: skip
    keyword = chance.choice(sorted(lies))
    return replace(layout, **{keyword: chance.choice(lies[keyword])})


def one_case(stream: Stream, chance: random.Random) -> str:
    """Decode a mutated element of some frames, or one mutated frame; what became of it."""
    layout = lied(stream.layout, chance) if chance.random() < 0.25 else stream.layout
    try:
        if chance.random() < 0.3:
            frames = element(replace(layout, number_of_frames=max(layout.number_of_frames, 2)), stream, chance)
        else:
            data = mutated(stream.frames[0], chance) if chance.random() < 0.95 else stream.frames[0]
            frames = [(data if layout.is_native else item(data), layout)]
        for data, told in frames:
            frame = decode_frame(memoryview(data), told)
            if frame.shape != told.frame_shape or frame.dtype != stored_dtype(told):
                return f"gave {frame.shape} {frame.dtype} for {told}"
    except PixelDataError:
        return "refused"
    return "decoded"


def element(layout: PixelLayout, stream: Stream, chance: random.Random) -> list[tuple[bytes, PixelLayout]]:
    """The frames of a pixel data element whose items, tables and lengths were mutated."""
    if layout.is_native:
        value = b"".join(stream.frames)
        head = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, len(value))
        file = mutated(head + value, chance)
    else:
        file = encapsulated(stream, chance)
    ranges = frame_ranges(lambda at, length: file[at : at + length], 0, len(file), layout)
    return [(file[at : at + length], layout) for at, length in (ranges or [])[:4]]


def encapsulated(stream: Stream, chance: random.Random) -> bytes:
    items = [item(b"")] if chance.random() < 0.5 else [item(struct.pack("<2I", 0, 8 + len(padded(stream.frames[0]))))]
    for frame in stream.frames:
        whole = padded(frame)
        cut = chance.randrange(2, len(whole), 2) if chance.random() < 0.3 else len(whole)
        items += [item(part) for part in (whole[:cut], whole[cut:]) if part]
    value = b"".join(items) + b"\xfe\xff\xdd\xe0" + bytes(4)
    if chance.random() < 0.7:
        value = mutated(value, chance)
    return struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF) + value


def padded(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)


def item(data: bytes) -> bytes:
    whole = padded(data)
    return b"\xfe\xff\x00\xe0" + len(whole).to_bytes(4, "little") + whole


def peak_bytes() -> int:
    """Not of getrusage: that counts what the parent had in memory before this program began."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])


def main(first: int, count: int, log: Path) -> None:
    warnings.simplefilter("ignore")
    sound = streams()
    became: Counter[str] = Counter()
    for stream in sound:  # and every codec is loaded
        for data in stream.frames:
            assert decode_frame(data if stream.layout.is_native else item(data), stream.layout).shape, stream.name
    sys.unraisablehook = lambda _: None  # where imagecodecs leaves some of its errors
    before, slowest, highest = peak_bytes(), (0.0, ""), 0
    with log.open("w", buffering=1) as names:
        for number in range(first, first + count):
            chance = random.Random(number)
            stream = sound[number % len(sound)]
            names.write(f"{number} {stream.name}\n")
            start = process_time()
            became[one_case(stream, chance)] += 1
            slowest = max(slowest, (process_time() - start, f"{number} {stream.name}"))
            if (peak := peak_bytes() - before) > highest:
                highest = peak
                became[f"grew {number} {stream.name} to {peak >> 20} MB"] += peak > 128 << 20
    print(json.dumps({"became": {k: n for k, n in became.items() if n}, "slowest": slowest, "grown": highest}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
