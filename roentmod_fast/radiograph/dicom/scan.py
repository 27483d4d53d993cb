"""Walk the data elements of a DICOM file before it is parsed (PS3.5 7.1).

pydicom makes objects of whatever it meets: a file that was cut on a disk that allocates first, and so ends in zeros,
costs it a minute for 100 MiB, and one compressed frame without a delimiter loses it the whole header. Walking from
length to length costs next to nothing, finds where a file ends or breaks, and bounds what is parsed afterwards.
"""

from __future__ import annotations

import io
import struct
from typing import NamedTuple

from pydicom import uid
from pydicom.datadict import dictionary_VR
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STANDARD_VR

from roentmod_fast.radiograph.dicom.encapsulated import UNWRITTEN

MAX_ELEMENTS = 50_000
"""Data elements, items and fragments that a file may have. Radiographs have some hundreds."""

TOO_MANY = f"more than {MAX_ELEMENTS} data elements: expected a radiograph, which has some hundreds"

MAX_DEPTH = 64
"""How deep sequences may be nested: pydicom calls itself for each level."""

MAX_VALUE = 1 << 20
"""The longest value in bytes that is text or numbers: it would be taken apart into objects."""

MAX_LENGTH = 1 << 29
"""The longest length in bytes that is believed: where there is less, the file ends early."""

MAX_SEQUENCES = 1 << 28
"""Bytes of all sequences of defined length, an inner one counted again: pydicom copies each."""

MAX_READS = 250_000
"""Reads that parsing may cost, should pydicom find more in a file than the walk has."""

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_LONG = {vr.encode() for vr in EXPLICIT_VR_LENGTH_32}
_ONE_VALUE = ("UN", "UT", "SQ")


class Scan(NamedTuple):
    """What a walk found.

    ``end``: where the data set ends; ``padding``: how many bytes follow that are none of it. ``early``: how the file
    ends within an element; ``broken``: where it contradicts itself. Both are phrases, or empty.
    """

    end: int
    early: str = ""
    broken: str = ""
    padding: int = 0


class BoundedReader(io.BytesIO):
    """A file in memory that can be read from only so often: see :data:`MAX_READS`."""

    left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as a file does. Raises ValueError where it was done too often."""
        self.left -= 1
        if self.left < 0:
            raise ValueError(TOO_MANY)
        return super().read(size)


class _Level(NamedTuple):
    """A data set or a sequence that the walk is in: where it ends, and whether that is written in its length."""

    sequence: bool
    end: int
    defined: bool
    implicit: bool


def file_meta_end(data: bytes, at: int) -> int:
    """Return where the file meta information (group 0002) that begins at byte ``at`` ends (PS3.10 7.1)."""
    implicit = not _is_vr(data[at + 4 : at + 6])
    for _ in range(MAX_ELEMENTS):
        if at + 8 > len(data) or data[at : at + 2] != b"\x02\0":
            break
        _, length, at = _element(data, at, implicit, "<")
        at = len(data) if length == _UNDEFINED else min(at + length, len(data))
    return at


def encoding(data: bytes, at: int, transfer_syntax: str) -> tuple[bool, bool]:
    """Return whether the data set at byte ``at`` is in implicit VR, and whether in little endian.

    As pydicom does, the first element is believed more than the transfer syntax.
    """
    vr = data[at + 4 : at + 6]
    if transfer_syntax:
        return not _is_vr(vr), transfer_syntax != uid.ExplicitVRBigEndian
    return not _is_vr(vr), not _is_vr(vr) or data[at + 1 : at + 2] < b"\x04"


def scan(data: bytes, at: int, *, implicit: bool, little: bool) -> Scan:
    """Walk the data set that begins at byte ``at``.

    Raises ValueError, with a phrase that can stand after a file's name, for what is not worth parsing: bytes that were
    never written, compressed pixel data without an end, and more than the limits of this module. After the pixel data
    such bytes are padding.
    """
    walk = _Walk(data, "<" if little else ">", implicit)
    try:
        end = walk.run(at)
    except ValueError:
        if not walk.pixel_end:
            raise
        end = walk.pixel_end
    return Scan(end, walk.early, walk.broken, len(data) - end)


class _Walk:
    """The state of a walk; see :class:`Scan`. ``pixel_end``: where the pixel data ended, 0 before."""

    def __init__(self, data: bytes, order: str, implicit: bool) -> None:
        self.data, self.order = data, order
        self.levels = [_Level(False, len(data), True, implicit)]
        self.steps = self.sequences = self.pixel_end = self.last = 0
        self.early = self.broken = ""

    def run(self, at: int) -> int:
        """Walk from byte ``at`` on; return where the data set ends."""
        data = self.data
        while True:
            at = self._leave(at)
            if at + 8 > len(data):
                if at < len(data) and not self.pixel_end:
                    self.early = self.early or f"the file ends {len(data) - at} bytes into a data element"
                return len(data)
            if data.count(data[at : at + 1], at, at + 8) == 8:
                raise ValueError(_filled(data, at))
            self.steps += 1
            if self.steps > MAX_ELEMENTS:
                raise ValueError(TOO_MANY)
            group, number, length = struct.unpack_from(self.order + "HHI", data, at)
            tag = group << 16 | number
            if tag == _ITEM_END and len(self.levels) == 1:
                self.broken = self.broken or f"an item ends at byte {at} where none began"
                return at
            if self.levels[-1].sequence or tag == _ITEM_END:
                at = self._over_item(tag, length, at + 8)
                continue
            at = self._over_element(tag, at)
            if tag in _PIXELS and len(self.levels) == 1:
                self.pixel_end = at

    def _leave(self, at: int) -> int:
        """Leave the levels that end at byte ``at``; return where it goes on."""
        while len(self.levels) > 1 and at >= self.levels[-1].end:
            level = self.levels.pop()
            if level.defined:
                at = level.end
            elif at >= len(self.data):
                self.early = self.early or "the file ends within a sequence"
        return at

    def _over_item(self, tag: int, length: int, at: int) -> int:
        """Go on at byte ``at``, after the head of an item or the end of a sequence or of an item."""
        level = self.levels[-1]
        if tag == (_SEQUENCE_END if level.sequence else _ITEM_END):
            self.levels.pop()
        elif tag == _ITEM:
            self.levels.append(_below(level, False, self.data, at, length))
        else:
            self.broken = self.broken or f"byte {at - 8} is neither an item nor the end of a sequence"
            return level.end
        return at

    def _over_element(self, tag: int, start: int) -> int:
        """Go over the element at byte ``start``, or into it where it is a sequence."""
        level = self.levels[-1]
        written, length, at = _element(self.data, start, level.implicit, self.order)
        vr = self._vr(tag, written, length, at)
        if length == _UNDEFINED and vr != "SQ":
            end, fragments = _after_fragments(self.data, at, tag, self.order, MAX_ELEMENTS - self.steps)
            self.steps += fragments
            return end
        if length != _UNDEFINED and at + length > level.end:
            words = f"element {_shown(tag)} claims {length} bytes, {max(level.end - at, 0)} are there"
            # Where tags fall or are unknown, or a VR is none, lengths lead nowhere: that is no end.
            known = tag >> 16 & 1 or _known_vr(tag) != "UN"
            in_step = known and (len(self.levels) > 1 or tag > self.last) and (level.implicit or written in STANDARD_VR)
            if level.end == len(self.data) and length <= MAX_LENGTH and in_step:
                self.early = self.early or words
            else:
                self.broken = self.broken or words
        self.last = tag if len(self.levels) == 1 else self.last
        if vr == "SQ":
            self._enter(_below(level, True, self.data, at, length), 0 if length == _UNDEFINED else length)
            return at
        if length > MAX_VALUE and vr not in _ONE_VALUE and "O" not in (vr[0], vr[-2]):
            raise ValueError(f"element {_shown(tag)} claims a value of {length} bytes: the file is damaged")
        return min(at + length, level.end)

    def _vr(self, tag: int, written: str, length: int, at: int) -> str:
        """Return the VR that pydicom will find; a sequence may come as UN (PS3.5 6.2.2)."""
        if written not in ("", "UN"):
            return written
        known = _known_vr(tag)
        items = self.data[at : at + 4] == struct.pack(self.order + "HH", _ITEM >> 16, _ITEM & 0xFFFF)
        if known == "SQ" or (length == _UNDEFINED and (written == "UN" or (known == "UN" and items))):
            return "SQ"
        return written or known

    def _enter(self, sequence: _Level, length: int) -> None:
        self.levels.append(sequence)
        self.sequences += length
        if len(self.levels) > 2 * MAX_DEPTH:
            raise ValueError(f"sequences are nested more than {MAX_DEPTH} deep: the file is damaged")
        if self.sequences > max(MAX_SEQUENCES, len(self.data)):
            raise ValueError(f"more than {MAX_SEQUENCES >> 20} MiB in sequences: expected a radiograph")


def _below(outer: _Level, sequence: bool, data: bytes, at: int, length: int) -> _Level:
    """Return the level of a sequence or an item whose content begins at byte ``at``."""
    # Within an explicit data set an item may be in implicit VR: its first element shows which.
    implicit = outer.implicit or (not sequence and not _is_vr(data[at + 4 : at + 6]))
    if length == _UNDEFINED:
        return _Level(sequence, outer.end, False, implicit)
    return _Level(sequence, min(at + length, outer.end), True, implicit)


def _element(data: bytes, at: int, implicit: bool, order: str) -> tuple[str, int, int]:
    """Return VR (empty where it is not written), length and place of the value of the element at byte ``at``."""
    vr = b"" if implicit else data[at + 4 : at + 6]
    if vr in _LONG:
        length = int.from_bytes(data[at + 8 : at + 12], "little" if order == "<" else "big")
        return vr.decode(), length, at + 12
    if b"AA" <= vr <= b"ZZ":
        return vr.decode("latin-1"), struct.unpack_from(order + "H", data, at + 6)[0], at + 8
    return "", struct.unpack_from(order + "I", data, at + 4)[0], at + 8


def _is_vr(letters: bytes) -> bool:
    return len(letters) < 2 or all(0x40 < letter < 0x5B for letter in letters)


def _known_vr(tag: int) -> str:
    """Return the VR of the data dictionary; UN, whose value is left alone, where it has none."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


def _after_fragments(data: bytes, start: int, tag: int, order: str, most: int) -> tuple[int, int]:
    """Return the byte after a value of undefined length that is no sequence, and how many fragments it has."""
    what = "compressed pixel data" if tag in _PIXELS else f"element {_shown(tag)}"
    at = start
    for count in range(most):
        if at + 8 > len(data):
            break
        group, number, length = struct.unpack_from(order + "HHI", data, at)
        if group << 16 | number == _SEQUENCE_END:
            return at + 8, count
        if group << 16 | number != _ITEM:
            break
        at += 8 + length
    else:
        raise ValueError(TOO_MANY)
    # pydicom, too, goes by the delimiter's bytes where items do not lead to it.
    found = data.find(struct.pack(order + "HH", _SEQUENCE_END >> 16, _SEQUENCE_END & 0xFFFF), start)
    if found >= 0:
        return found + 8, 1
    if len(data) < at <= len(data) + MAX_LENGTH:
        raise ValueError(f"{what} is truncated: the file ends {at - len(data)} bytes early: fetch it again")
    if at + 8 <= len(data) and data.count(data[at : at + 1], at, at + 8) == 8 and len(data) - at >= UNWRITTEN:
        raise ValueError(_filled(data, at))
    if at <= len(data) and not data[at:].strip(b"\0"):
        zeros = f", {len(data) - at} zero bytes in its place" if at < len(data) else ""
        missing = f"no Sequence Delimitation Item (FFFE,E0DD) at its end{zeros}"
        raise ValueError(f"{what} has {missing}: the file was cut short or written wrongly")
    if at > len(data):
        raise ValueError(f"{what} is damaged: a fragment claims more bytes than a file may have")
    raise ValueError(f"{what} is damaged: expected an item or a Sequence Delimitation Item (FFFE,E0DD) at byte {at}")


def _filled(data: bytes, at: int) -> str:
    """Return the error message for one byte repeated in place of a data element."""
    byte, size = data[at : at + 1], 1 << 20
    shown = "zeros" if byte == b"\0" else f"bytes {byte[0]:#04x}"
    run = byte * size
    for start in range(at, len(data), size):
        part = data[start : start + size]
        if part != run[: len(part)]:
            return f"{shown} where a data element should begin, at byte {at}: the file is damaged"
    return f"nothing but {shown} from byte {at} on: the end of the file was never written: fetch it again"


def _shown(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
