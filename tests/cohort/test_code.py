"""The digest of a function: the same in every process, another for other code."""

import subprocess
import sys

import pytest

from researchpacs.cohort._code import code_digest
from researchpacs.errors import InvalidInputError

SCRIPT = """
import abc, functools, re, sys
import numpy as np
from researchpacs.cohort._code import code_digest
EDGES, WORDS, PATTERN = np.arange(5.0), {"a", "b", "c", "d"}, re.compile("a+")
class Base(abc.ABC):
    @property
    def one(self): return 1
    @functools.cached_property
    def two(self): return {"x", "y", 2}
class Model(Base):
    words = {"k", "l", "m"}
    def __init__(self, level): self.level = level
    def __call__(self, vol): return inner(vol, self.level)
def inner(vol, level): return {"n": (vol > level).sum(), "e": EDGES, "w": vol in {"p", "q", "r"}}
@functools.lru_cache
def kept(vol): return {"a": WORDS, "b": PATTERN, "c": deep(vol)}
def deep(vol): return [np.log(one) for one in vol] + [lambda: WORDS]
def plain(vol, *, level=3): return kept(vol)
CHANGE
print(*[code_digest(one) for one in (Model(1), Model(2).__call__, plain, functools.partial(plain, level=4), kept, len)])
"""


def _digests(change: str = "") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("CHANGE", change)], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_equal_functions_are_equal_in_every_process():
    first = _digests()
    assert first == _digests("# a comment changes nothing")
    assert len(set(first)) == 6


@pytest.mark.parametrize(
    ("change", "other"),
    [
        ("EDGES[0] = 9", {0, 1}),
        ("WORDS.add('e')", {2, 3, 4}),
        ("def deep(vol): return 0", {2, 3, 4}),
        ("Base.one = 4", {0, 1}),
        ("def inner(vol, level): return {}", {0, 1}),
        ("plain.__kwdefaults__['level'] = 5", {2, 3}),
    ],
)
def test_what_a_function_refers_to_is_part_of_it(change, other):
    before, after = _digests(), _digests(change)
    assert {k for k in range(6) if before[k] != after[k]} == other


def test_a_function_that_calls_itself_has_an_end():
    def counted(vol: int) -> int:
        return counted(vol - 1) if vol else 0

    assert code_digest(counted) == code_digest(counted)


def test_what_is_no_function_or_holds_a_file_is_refused():
    with pytest.raises(InvalidInputError, match="expected a function"):
        code_digest(3)
    with open(__file__) as file, pytest.raises(InvalidInputError, match="TextIOWrapper"):
        code_digest(lambda _: file)
