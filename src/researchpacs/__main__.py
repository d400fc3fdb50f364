"""`python -m researchpacs` is the command `researchpacs`."""

from researchpacs.cli import main

main(prog_name="researchpacs")
