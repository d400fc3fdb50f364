"""The archive as a DICOM node: an SCP that other nodes store to, query and retrieve from. Off until it is started."""

from researchpacs.server.dimse._options import ScpOptions, ServerTls
from researchpacs.server.dimse._scp import Scp, start_scp

__all__ = ["Scp", "ScpOptions", "ServerTls", "start_scp"]
