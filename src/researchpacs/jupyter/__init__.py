"""What JupyterLab gets beside the widgets: the SQL cell."""

from researchpacs.jupyter.magics import load

__all__ = ["load"]
