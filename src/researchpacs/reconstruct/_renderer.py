"""How vtk can render here: tried once, in processes of their own, for where there is no OpenGL vtk may crash."""

import subprocess
import sys
from functools import cache

from researchpacs.reconstruct._scene import WINDOWS

__all__ = ["renderer"]

TIMEOUT_S = 120


@cache
def renderer() -> str | None:
    """Name the first window that opens and draws without a screen; None where none does."""
    return next((name for name in WINDOWS if _draws(name)), None)


def _draws(name: str) -> bool:
    program = "import sys; from researchpacs.reconstruct._scene import probe; probe(sys.argv[1])"
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", program, name], capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.strip().endswith(b"rendered")
