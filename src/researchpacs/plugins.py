"""Functions that other packages bring by entry points, loaded by name.

A package offers a route in its ``pyproject.toml``:

    [project.entry-points."researchpacs.routes"]
    lung-volume = "my_package.routes:lung_volume"
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Literal, TypeAlias

from researchpacs.errors import InvalidInputError, NotFoundError

__all__ = ["Group", "Route", "load_route", "names"]

Group: TypeAlias = Literal["researchpacs.routes"]

Route: TypeAlias = Callable[[Any, Any], object]
"""Called with a `Pacs` and a `Series`; what it returns is not looked at. A RemoteError is tried again."""


def names(group: Group) -> list[str]:
    """What the installed packages offer."""
    return sorted({found.name for found in entry_points(group=group)})


def load_route(name: str) -> Route:
    """Load the function of an entry point of ``researchpacs.routes``.

    Raises
    ------
    NotFoundError
        No installed package offers it.
    InvalidInputError
        It cannot be imported or called, or several packages offer it.
    """
    function: Route = _load("researchpacs.routes", name)
    if not callable(function):
        raise InvalidInputError(f"the entry point {name!r} of researchpacs.routes is no function")
    return function


def _load(group: Group, name: str) -> Any:
    found = list(entry_points(group=group, name=name))
    if not found:
        known = ", ".join(names(group)) or "none"
        raise NotFoundError(f"no installed package offers {name!r} as an entry point of {group}; there are: {known}")
    if len({one.value for one in found}) > 1:
        packages = ", ".join(sorted(one.dist.name for one in found if one.dist is not None))
        raise InvalidInputError(f"several packages offer {name!r} as an entry point of {group}: {packages}")
    try:
        return found[0].load()
    except Exception as error:  # whatever a foreign module raises when it is imported
        raise InvalidInputError(
            f"the entry point {name!r} of {group} ({found[0].value}) cannot be loaded: {type(error).__name__}: {error}"
        ) from error
