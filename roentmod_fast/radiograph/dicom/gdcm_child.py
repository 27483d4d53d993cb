"""Decompress one frame with GDCM in a process of its own: ``python -m roentmod_fast.radiograph.dicom.gdcm_child``.

GDCM is the only free decoder of lossless and 12 bit JPEG, and it ends the whole process on some damaged frames, or
fills in grey and reports that on stderr only. In a child process neither does harm: :func:`decompress` starts this
module as a child, reads pixels from its stdout and takes an error message for a failure.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

START, MEGAPIXEL = 5.0, 1.0
"""Seconds for the start of the child and for each million pixels; after them a frame counts as damaged."""

_ERRORS = (b"Premature end", b"Corrupt", b"Bogus", b"Invalid", b"invalid")


def decompress(frame: bytes, syntax: str, rows: int, columns: int, precision: int, samples: int = 1) -> bytes:
    """Return the pixels of a frame, with all ``samples`` of a pixel together.

    Of each sample one byte up to 8 bits of ``precision``, else two, low byte first.

    Raises ValueError where GDCM cannot decompress it whole.
    """
    command = [sys.executable, "-m", __name__, syntax, str(rows), str(columns), str(precision), str(samples)]
    seconds = START + MEGAPIXEL * rows * columns * samples / 1e6
    try:
        done = subprocess.run(command, input=frame, capture_output=True, check=False, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"GDCM gives no answer: {type(error).__name__}") from error
    if done.returncode != 0:
        raise ValueError(f"GDCM fails with status {done.returncode}")
    if any(message in done.stderr for message in _ERRORS):
        raise ValueError("GDCM finds the frame damaged")
    expected = rows * columns * samples * (1 if precision <= 8 else 2)
    if len(done.stdout) != expected:
        raise ValueError(f"GDCM gives {len(done.stdout)} bytes, expected {expected}")
    return done.stdout


def _decompress_here(frame: bytes, syntax: str, rows: int, columns: int, precision: int, samples: int) -> bytes:
    gdcm: Any = importlib.import_module("gdcm")  # it has no types

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    colour = gdcm.PhotometricInterpretation
    image.SetPhotometricInterpretation(colour(colour.MONOCHROME2 if samples == 1 else colour.RGB))
    image.SetPlanarConfiguration(0)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    # Never signed: what the sign bit is, the DICOM header knows better than the frame.
    image.SetPixelFormat(gdcm.PixelFormat(samples, 8 if precision <= 8 else 16, precision, precision - 1, 0))
    # The binding hands bytes over as text.
    return bytes(image.GetBuffer().encode("utf-8", "surrogateescape"))


def _main() -> None:
    syntax, rows, columns, precision, samples = sys.argv[1], *(int(argument) for argument in sys.argv[2:6])
    sys.stdout.buffer.write(_decompress_here(sys.stdin.buffer.read(), syntax, rows, columns, precision, samples))


if __name__ == "__main__":
    _main()
