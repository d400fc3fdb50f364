"""What the viewer's two halves say to each other; `extensions/protocol` mirrors this file name for name.

A request carries an `id` that is unique on its page; the answer names it as `request`. Points are (x, y, z) LPS mm.
The kernel keeps the list of marks; the browser asks for changes and draws what the list says.
"""

from typing import Any, Literal, TypedDict, cast, get_args, get_origin, get_type_hints

from researchpacs.errors import InvalidInputError

__all__ = [
    "BundleReply",
    "BundleRequest",
    "CancelRequest",
    "ChooseRequest",
    "ColourMap",
    "ErrorReply",
    "LabelRequest",
    "Mark",
    "MarkRequest",
    "PlaneGeometry",
    "PlaneReply",
    "PlaneRequest",
    "Preset",
    "Quantity",
    "RedoRequest",
    "Request",
    "SaveReply",
    "SaveRequest",
    "UndoRequest",
    "UnmarkRequest",
    "as_request",
]


class BundleRequest(TypedDict):
    """Send the viewer's JavaScript."""

    kind: Literal["bundle"]
    id: str


class PlaneRequest(TypedDict):
    """Send the pixels of one plane."""

    kind: Literal["plane"]
    id: str
    plane: str
    index: int
    volume: int


class CancelRequest(TypedDict):
    """The plane asked for under this id is no longer wanted."""

    kind: Literal["cancel"]
    id: str


class MarkRequest(TypedDict):
    """A shape was drawn or changed: add it, or change the draft of this id."""

    kind: Literal["mark"]
    id: str
    shape: str
    plane: str
    index: int
    volume: int
    points_lps: list[list[float]]


class LabelRequest(TypedDict):
    """Name a draft."""

    kind: Literal["label"]
    id: str
    label: str


class UnmarkRequest(TypedDict):
    """Remove a draft."""

    kind: Literal["unmark"]
    id: str


class UndoRequest(TypedDict):
    """Take the last change of the marks back."""

    kind: Literal["undo"]
    id: str


class RedoRequest(TypedDict):
    """Make the change that was taken back last once more."""

    kind: Literal["redo"]
    id: str


class ChooseRequest(TypedDict):
    """Show another one of the choices."""

    kind: Literal["choose"]
    id: str
    choice: int


class SaveRequest(TypedDict):
    """Save all drafts."""

    kind: Literal["save"]
    id: str


class BundleReply(TypedDict):
    """The JavaScript follows as one buffer, compressed with gzip."""

    kind: Literal["bundle"]
    request: str


class PlaneReply(TypedDict):
    """The pixels follow as one buffer, row after row, little endian, in the volume's unit; or as bytes of colour."""

    kind: Literal["plane"]
    request: str
    dtype: Literal["int16", "float32", "rgb8"]
    exact: bool


class SaveReply(TypedDict):
    """So many drafts were saved."""

    kind: Literal["save"]
    request: str
    saved: int


class ErrorReply(TypedDict):
    """The request failed; one sentence for the reader."""

    kind: Literal["error"]
    request: str
    message: str


class PlaneGeometry(TypedDict):
    """A stack of planes, as an Image Plane (PS3.3 C.7.6.2)."""

    name: str
    count: int
    rows: int
    columns: int
    row_spacing: float
    column_spacing: float
    row_cosines: list[float]
    column_cosines: list[float]
    origin: list[float]
    step: list[float]
    axis: str
    location: float
    location_step: float
    oriented: bool
    calibrated: bool


class Preset(TypedDict):
    """A window by name."""

    name: str
    center: float
    width: float


class ColourMap(TypedDict):
    """Colours by name: red, green, blue from 0 to 1, of even steps from black to white."""

    name: str
    colours: list[float]


class Quantity(TypedDict):
    """One number of a mark."""

    name: str
    value: float
    unit: str


class Mark(TypedDict):
    """One row of the table; of one that lies on no plane shown here `plane` is empty."""

    id: str
    shape: str
    plane: str
    index: int
    volume: int
    points_lps: list[list[float]]
    label: str
    quantities: list[Quantity]
    state: Literal["draft", "saved"]


Request = (
    BundleRequest
    | PlaneRequest
    | CancelRequest
    | MarkRequest
    | LabelRequest
    | UnmarkRequest
    | UndoRequest
    | RedoRequest
    | ChooseRequest
    | SaveRequest
)


def as_request(content: object) -> Request:
    """Read what the browser sent.

    Raises
    ------
    InvalidInputError
        For an unknown kind, a missing or additional field, a field of another type.
    """
    if not isinstance(content, dict):
        raise InvalidInputError(f"a request is an object with a kind, not {type(content).__name__}")
    for shape in get_args(Request):
        hints = get_type_hints(shape)
        if content.get("kind") not in get_args(hints["kind"]):
            continue
        if content.keys() != hints.keys():
            raise InvalidInputError(f"{shape.__name__} has the fields {', '.join(hints)}, not {', '.join(content)}")
        for field, hint in hints.items():
            if not _fits(content[field], hint):
                raise InvalidInputError(f"the field {field!r} of {shape.__name__} is not {hint}")
        return cast("Request", content)
    raise InvalidInputError(f"unknown kind of request {content.get('kind')!r}")


def _fits(value: object, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(item, get_args(hint)[0]) for item in value)
    if isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if hint is float else hint)
