"""What a new DICOM instance has of its own: UIDs and the time at which it is made."""

from __future__ import annotations

import datetime
import hashlib
import uuid
from dataclasses import dataclass, field

from pydicom.uid import UID, generate_uid


def uid_of(digest: bytes) -> UID:
    """Return the UID made of the first 16 bytes of ``digest`` (PS3.5 B.2, from a version 8 UUID of RFC 9562)."""
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | 8 << 76
    number = number & ~(0x3 << 62) | 2 << 62
    return UID(f"2.25.{number}")


@dataclass(frozen=True)
class Stamp:
    """When an instance is made, and what is new in it.

    ``seed``: what its UIDs are made from, so that the same seed gives the same bytes; None for new ones each time.
    """

    time: datetime.datetime = field(default_factory=datetime.datetime.now)
    seed: bytes | None = None

    def uid(self, level: str) -> UID:
        """Return the UID of a ``level`` of the instance: ``study``, ``series`` or ``instance``."""
        return generate_uid(None) if self.seed is None else uid_of(self._digest(level))

    def token(self, purpose: str) -> str:
        """Return 32 hexadecimal digits that no other instance has for ``purpose``."""
        return uuid.uuid4().hex if self.seed is None else self._digest(purpose).hex()[:32]

    def _digest(self, purpose: str) -> bytes:
        return hashlib.sha256(b"roentmod-fast\0" + purpose.encode() + b"\0" + (self.seed or b"")).digest()
