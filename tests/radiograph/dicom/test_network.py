"""An output sent to a DICOM node on the loopback address, as a PACS would take it (dcmtk)."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest

from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.dicom.write import write_dicom
from roentmod_fast.radiograph.model import Provenance
from tests.radiograph.conftest import make_dataset, to_bytes

pytestmark = pytest.mark.skipif(
    shutil.which("storescu") is None or shutil.which("storescp") is None, reason="dcmtk is not installed"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("syntax", "propose", "accept"),
    [("explicit", [], []), ("jpeg2000", ["--propose-j2k-lossless"], ["--prefer-j2k-lossless"])],
)
def test_c_store(tmp_path: Path, provenance: Provenance, syntax: str, propose: list[str], accept: list[str]) -> None:
    values = np.arange(64 * 80).reshape(64, 80) % 4096
    radiograph = read_dicom(to_bytes(make_dataset(values)), "file.dcm")
    path, inbox = tmp_path / "out.dcm", tmp_path / "inbox"
    inbox.mkdir()
    new = write_dicom(path, radiograph, radiograph.image, provenance, transfer_syntax=syntax)
    port = free_port()
    node = subprocess.Popen(["storescp", *accept, "-od", str(inbox), str(port)])
    try:
        for _ in range(50):
            sent = subprocess.run(
                ["storescu", *propose, "127.0.0.1", str(port), str(path)], check=False, capture_output=True
            )
            if sent.returncode == 0:
                break
            time.sleep(0.1)
        assert sent.returncode == 0, sent.stderr
    finally:
        node.terminate()
        node.wait(10)
    (received,) = inbox.iterdir()
    dataset = pydicom.dcmread(received)
    assert dataset.SOPInstanceUID == new and dataset[0x0008, 0x001C].value == "YES"
    np.testing.assert_array_equal(dataset.pixel_array, values)
