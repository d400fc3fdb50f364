"""For tests of researchpacs and of what is built on it: small instances and the suite every archive passes."""

from researchpacs.testing._archive import ArchiveConformance
from researchpacs.testing._instances import small_ct

__all__ = ["ArchiveConformance", "small_ct"]
