"""The one way records are declared: immutable, slotted, keyword-only, ready for the codec."""

import msgspec

__all__ = ["Record"]


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value that never changes: compare it, save it, send it; make a new one to differ.

    Fields a later version added have defaults, so files of older versions keep opening; fields
    this version does not know are skipped, so small additions do not break older readers.
    """
