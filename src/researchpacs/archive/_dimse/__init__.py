"""DICOM's own protocol, DIMSE over the Upper Layer (PS3.7, PS3.8): what both ends of an association share, and the SCU.

pynetdicom gives the codecs of negotiation and the lists of SOP classes and transfer syntaxes. The association itself is
a blocking loop here, not pynetdicom's reactor: bytes of a data set go between socket and file untouched and in constant
memory, every length is checked before it is read, every wait has an end, and a connection that does nothing costs
nothing.
"""

from researchpacs.errors import MissingExtraError

try:
    import pynetdicom as _pynetdicom  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingExtraError("speaking DIMSE", "dimse") from error
