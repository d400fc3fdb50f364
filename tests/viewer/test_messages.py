"""Both halves of the viewer speak the same protocol."""

import re
import typing
from pathlib import Path

import pytest

from researchpacs.errors import InvalidInputError
from researchpacs.viewer import Viewer, _messages
from researchpacs.viewer._messages import as_request

PROTOCOL = Path(__file__).parents[2] / "extensions" / "protocol" / "src" / "index.ts"
MARK = {
    "kind": "mark",
    "id": "1",
    "shape": "length",
    "plane": "axial",
    "index": 0,
    "volume": 0,
    "points_lps": [[0, 0.5, 1], [2, 3, 4]],
}
TYPES = {str: "string", int: "number", float: "number", bool: "boolean"}


def typescript_interfaces() -> dict[str, dict[str, str]]:
    """Read the interfaces of the TypeScript half: name, field, type."""
    text = PROTOCOL.read_text(encoding="utf-8")
    return {
        name: dict(re.findall(r"^\s*(\w+): ([^;]+);", body, flags=re.MULTILINE))
        for name, body in re.findall(r"export interface (\w+) \{([^}]*)\}", text)
    }


def as_typescript(hint: object) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(f'"{value}"' for value in typing.get_args(hint))
    if typing.get_origin(hint) is list:
        return f"{as_typescript(typing.get_args(hint)[0])}[]"
    if typing.is_typeddict(hint):
        return hint.__name__
    return TYPES[hint]


def test_messages_are_the_same_in_python_and_typescript():
    theirs = typescript_interfaces()
    state = theirs.pop("ViewerState")
    ours = {
        name: {field: as_typescript(hint) for field, hint in typing.get_type_hints(shape).items()}
        for name, shape in vars(_messages).items()
        if typing.is_typeddict(shape)
    }
    assert ours == theirs
    assert set(state) == {name for name in Viewer.class_traits(sync=True) if name in Viewer.__dict__}


def test_every_kind_of_request_is_answered():
    kinds = {typing.get_args(typing.get_type_hints(one)["kind"])[0] for one in typing.get_args(_messages.Request)}
    assert kinds == {"bundle", "plane", "cancel", "mark", "label", "unmark", "undo", "redo", "choose", "save"}


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "plane",
        {},
        {"kind": "sql", "id": "1"},
        {"kind": ["plane"], "id": "1"},
        {"kind": "plane", "id": "1", "plane": "axial", "volume": 0},
        {"kind": "plane", "id": 1, "plane": "axial", "index": 0, "volume": 0},
        {"kind": "plane", "id": "1", "plane": "axial", "index": 0.5, "volume": 0},
        {"kind": "plane", "id": "1", "plane": "axial", "index": True, "volume": 0},
        {"kind": "plane", "id": "1", "plane": "axial", "index": 0, "volume": "0"},
        {"kind": "plane", "id": "1", "plane": "axial", "index": 0, "volume": 0, "path": "/etc/passwd"},
        {**MARK, "points_lps": [["0", 0, 0]]},
        {**MARK, "points_lps": [0, 0]},
        {**MARK, "shape": None},
        {"kind": "choose", "id": "1", "choice": "1"},
    ],
)
def test_what_is_no_request_is_refused(content):
    with pytest.raises(InvalidInputError):
        as_request(content)


def test_a_request_is_read_as_it_is():
    assert as_request(MARK) == MARK
