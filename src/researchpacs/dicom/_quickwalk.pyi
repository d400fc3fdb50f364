"""The walk through a sound header, in C (_quickwalk.c); absent where it could not be compiled."""

INTERFACE: int

Pixels = tuple[int, bytes, int, int]
Walked = tuple[str, int, dict[int, bytes], dict[int, bytes], dict[int, str], list[int], Pixels | None, int, int, bytes]

def walk(data: bytes, size: int, wanted: bytes, sequences: bytes, creators: frozenset[bytes], /) -> Walked | None: ...
def like(
    before: bytes,
    start: int,
    table: bytes,
    pixels: int,
    data: bytes,
    size: int,
    fixed: bytes,
    sequences: bytes,
    creators: frozenset[bytes],
    /,
) -> tuple[list[int], list[str | bytes], list[str | None], str | None, int, int] | None: ...
def recall(data: bytes, table: bytes, memory: dict[bytes, object], /) -> tuple[list[object], list[int]]: ...
