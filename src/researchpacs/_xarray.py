"""The engine ``researchpacs`` of xarray. xarray loads it wherever it looks for engines, so this loads nothing else."""

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from xarray.backends import BackendEntrypoint

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ResearchPacsBackend"]

_URL = re.compile(r"(orthanc|dicomweb)\+https?://.+/(series|studies)/[0-9.]+/?", re.IGNORECASE)


class ResearchPacsBackend(BackendEntrypoint):
    """Open a series as a Dataset, a study as a DataTree, with ``engine="researchpacs"``."""

    description = "DICOM series and studies by UID, folder or URL (researchpacs)"
    url = "https://researchpacs.readthedocs.io"
    open_dataset_parameters: ClassVar[tuple[str, ...] | None] = (
        "filename_or_obj", "drop_variables", "home", "on_irregular", "rescale",
    )  # fmt: skip
    supports_groups = True

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        home: str | os.PathLike[str] | None = None,
        on_irregular: str = "raise",
        rescale: bool = True,
    ) -> "xr.Dataset":
        """Open a series; its volume is the variable ``image``, and is read where it is indexed.

        Parameters
        ----------
        filename_or_obj
            A SeriesInstanceUID or its unique beginning; a handle of a series; a folder or file of one series, which
            is left where it is; or a URL: that of `connect` with ``/series/<uid>`` behind.
        drop_variables
            Variables and coordinates to leave out.
        home
            Of a UID: the archive, as `connect` takes it; by default one that is open here and has it, else the default.
        on_irregular, rescale
            As for `open_volume`.
        """
        from researchpacs._pacs import series_dataset

        found = series_dataset(filename_or_obj, home=home, on_irregular=on_irregular, rescale=rescale)
        return found.drop_vars([] if drop_variables is None else drop_variables, errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether it is a URL of a series or a study: all else may be somebody else's."""
        return isinstance(filename_or_obj, str) and _URL.fullmatch(filename_or_obj) is not None

    def open_datatree(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        home: str | os.PathLike[str] | None = None,
        on_irregular: str = "raise",
        rescale: bool = True,
    ) -> "xr.DataTree":
        """Open a study: a node for each series, by its UID; parameters as for `open_dataset`."""
        from xarray import DataTree

        groups = self.open_groups_as_dict(
            filename_or_obj, drop_variables=drop_variables, home=home, on_irregular=on_irregular, rescale=rescale
        )
        return DataTree.from_dict(groups)

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        home: str | os.PathLike[str] | None = None,
        on_irregular: str = "raise",
        rescale: bool = True,
    ) -> "dict[str, xr.Dataset]":
        """Open a study as datasets by the path of their node."""
        from researchpacs._pacs import study_datasets

        found = study_datasets(filename_or_obj, home=home, on_irregular=on_irregular, rescale=rescale)
        dropped = [] if drop_variables is None else drop_variables
        return {path: one.drop_vars(dropped, errors="ignore") for path, one in found.items()}
