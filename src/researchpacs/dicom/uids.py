"""UIDs that derive from content: the same content has the same UID, whenever and wherever it is made."""

import json
from uuid import UUID, uuid5

__all__ = ["IMPLEMENTATION_CLASS_UID", "IMPLEMENTATION_VERSION_NAME", "derived_uid"]

_NAMESPACE = UUID("9b6a1a52-3c1b-5d0f-9a57-6a4c5d2f1e08")


def derived_uid(kind: str, *content: str) -> str:
    """Hash content to a UID under ``2.25``, the root of UUIDs (PS3.5 B.2).

    Parameters
    ----------
    kind
        What is named, such as ``"series"``: the same content makes another UID for another kind.
    content
        What it derives from.
    """
    return f"2.25.{uuid5(_NAMESPACE, json.dumps([kind, *content])).int}"


IMPLEMENTATION_CLASS_UID = derived_uid("implementation")
"""Of files that we write (PS3.7 D.3.3.2); it names no version: an upgrade must not change equal content."""
IMPLEMENTATION_VERSION_NAME = "RESEARCHPACS"
