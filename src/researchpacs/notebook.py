"""Notebooks from the command line: JupyterLab on an archive, and the quick start run without a window."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from researchpacs.errors import InvalidInputError, NotFoundError, ResearchPacsError

__all__ = ["demo", "lab"]

QUICK_START = "01-quick-start.ipynb"
CELL_TIMEOUT_S = 300
WIDGET_STATE = "application/vnd.jupyter.widget-view+json"


def lab(arguments: Sequence[str], *, home: Path | None) -> int:
    """Start JupyterLab with the archive at `home`, and wait for its end.

    Returns
    -------
    status
        The exit status of ``jupyter lab``.
    """
    try:
        return subprocess.call([sys.executable, "-m", "jupyterlab", *arguments], env=_environment(home))  # noqa: S603
    except KeyboardInterrupt:
        return 0


def demo(output: Path, *, home: Path | None) -> Path:
    """Run the quick start headless and leave it as a page that needs nothing beside itself.

    Parameters
    ----------
    output
        Folder for the page, and for the archive unless `home` is given.

    Returns
    -------
    page
        The HTML file, pictures included.

    Raises
    ------
    InvalidInputError
        The folder cannot be made.
    ResearchPacsError
        A cell failed; the message has its error.
    """
    output = output.absolute()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"{output} cannot be made ({os.strerror(error.errno or 0)}); give another folder for the page"
        ) from error
    notebook = _run(_quick_start(), folder=output, home=home or output / "home")
    page = output / "quick-start.html"
    page.write_text(_as_page(notebook), encoding="utf-8")
    return page


def _quick_start() -> Path:
    package = Path(__file__).parent
    folders = (package / "_notebooks", package.parents[1] / "notebooks")
    for folder in folders:
        if (folder / QUICK_START).is_file():
            return folder / QUICK_START
    raise NotFoundError(f"{QUICK_START} is not part of this installation; install researchpacs from its wheel")


def _run(path: Path, *, folder: Path, home: Path) -> Any:
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="researchpacs-") as sockets:
        client = nbclient.NotebookClient(
            notebook,
            config=_private_kernel(Path(sockets)),
            kernel_name="python3",
            timeout=CELL_TIMEOUT_S,
            resources={"metadata": {"path": str(folder)}},
            store_widget_state=False,
        )
        try:
            client.execute(env=_environment(home))
        except nbclient.exceptions.CellExecutionError as error:
            raise ResearchPacsError(f"{path.name} did not run to its end: {error.ename}: {error.evalue}") from error
    return notebook


def _private_kernel(sockets: Path) -> Any:
    """Talk to the kernel through files only this user can open, where the platform has them."""
    from traitlets.config import Config

    return Config() if os.name == "nt" else Config(KernelManager={"transport": "ipc", "ip": str(sockets / "kernel")})


def _as_page(notebook: Any) -> str:
    from nbconvert.exporters import HTMLExporter
    from traitlets.config import Config

    _keep_pictures_of_widgets(notebook)
    exporter = HTMLExporter(
        config=Config({"HTMLExporter": {"template_name": "lab", "mathjax_url": "", "require_js_url": ""}})
    )
    page, _ = exporter.from_notebook_node(notebook)
    return re.sub(r'<script src=""[^>]*>\s*</script>', "", page)


def _keep_pictures_of_widgets(notebook: Any) -> None:
    """Show widgets as the pictures they left; those without one, such as progress bars, not at all."""
    for cell in notebook.cells:
        if "outputs" not in cell:
            continue
        cell.outputs = [output for output in cell.outputs if _is_shown_without_kernel(output.get("data", {}))]
        for output in cell.outputs:
            output.get("data", {}).pop(WIDGET_STATE, None)


def _is_shown_without_kernel(bundle: Mapping[str, Any]) -> bool:
    return WIDGET_STATE not in bundle or "image/png" in bundle


def _environment(home: Path | None) -> dict[str, str]:
    return {**os.environ, **({"RESEARCHPACS_HOME": str(home)} if home else {})}
