"""Other archives and public indexes beside one's own, and whose data the series are: verbs of `Pacs`."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

from researchpacs._pacs._handles import Handle, Series, as_handles
from researchpacs._pacs._nodes import Nodes
from researchpacs.archive import Origin
from researchpacs.errors import InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from researchpacs._pacs._facade import Pacs

__all__ = ["Federation"]


class Federation(Nodes):
    """What a `Pacs` can do with other archives."""

    def credit(
        self,
        target: Handle | Iterable[Handle],
        *,
        licence: str | None = None,
        doi: str | None = None,
        collection: str | None = None,
        url: str | None = None,
    ) -> int:
        """Say whose data series are: what stands in the table ``origins``, and what an export has to name.

        Parameters
        ----------
        target
            Series, or what they belong to: a handle, a search, or a list of handles.
        licence
            Its short name, such as ``"CC BY 4.0"``.
        doi
            Under which the data are cited.
        collection
            In which they were published.
        url
            Where they were taken from.

        Returns
        -------
        count
            Series of which this was not known yet. What is left out stays as it is.

        Raises
        ------
        InvalidInputError
            Nothing is said, or an instance is given.
        UnsupportedError
            The archive is a server, which keeps nothing of the kind.
        """
        archive = cast("Pacs", self).archive
        if "origins" not in archive.capabilities:
            raise UnsupportedError("a server keeps no licences and sources; retrieve the series into an archive here")
        origin = Origin(collection, licence, doi, url)
        if origin == Origin():
            raise InvalidInputError("nothing is said: give licence=, doi=, collection= or url=")
        return archive.origins.put({series.subject: origin for series in _series_of(target)})


def _series_of(target: object) -> Iterator[Series]:
    for handle in as_handles(target):
        if handle.level == "instance":
            raise InvalidInputError("licence and source belong to series; give the instance's series")
        yield from [handle] if isinstance(handle, Series) else handle.below("series")
