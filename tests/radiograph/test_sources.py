"""Files, folders and archives searched for radiographs."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import uid

from roentmod_fast.errors import SourceError
from roentmod_fast.radiograph.model import Provenance
from roentmod_fast.radiograph.raster import write_png
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.radiograph.sources import Source, find_sources, stem_of

from .conftest import make_dataset, to_bytes

DICOM = to_bytes(make_dataset())


def png(path: Path) -> Path:
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path)
    return path


def test_a_named_file_is_a_source_whatever_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    found = find_sources([path])
    assert [source.name for source in found.sources] == [str(path)] and found.skipped == {}


def test_a_folder_is_searched_in_order_and_the_rest_counted(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "study.dcm").write_bytes(DICOM)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.2.840.113").write_bytes(DICOM)
    (tmp_path / "a" / "raw").write_bytes(DICOM[132:])
    png(tmp_path / "c.png")
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / ".hidden").write_bytes(DICOM)
    report = make_dataset(SOPClassUID=uid.BasicTextSRStorage)
    del report.PixelData
    (tmp_path / "report").write_bytes(to_bytes(report))
    found = find_sources([tmp_path])
    names = [str(Path(source.name).relative_to(tmp_path)) for source in found.sources]
    assert names == ["c.png", str(Path("a", "1.2.840.113")), str(Path("a", "raw")), str(Path("b", "study.dcm"))]
    assert [source.stem for source in found.sources] == ["c", "1.2.840.113", "raw", "study"]
    assert [source.folder for source in found.sources][2] == tmp_path / "a"
    assert found.skipped == {
        "a structured report": 1,
        "hidden or special file": 1,
        "no radiograph by its content": 1,
    }
    assert all(read_radiograph(source).image.size for source in found.sources)


def test_outputs_of_an_earlier_run_are_skipped(tmp_path: Path, provenance: Provenance) -> None:
    path = png(tmp_path / "source.png")
    radiograph = read_radiograph(path)
    write_png(tmp_path / "source.edema.png", radiograph, radiograph.image, provenance)
    (tmp_path / "source.edema.dcm").write_bytes(to_bytes(make_dataset(SyntheticData="YES")))
    found = find_sources([tmp_path])
    assert [source.stem for source in found.sources] == ["source"]
    assert found.skipped == {"already synthetic": 2}
    assert len(find_sources([tmp_path], force=True).sources) == 3


def test_an_archive_is_read_without_unpacking(tmp_path: Path) -> None:
    path = tmp_path / "studies.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one/IM1.dcm", DICOM)
        archive.writestr("two/IM1.dcm", DICOM)
        archive.writestr("../../evil.dcm", DICOM)
        archive.writestr("/absolute.dcm", DICOM)
        archive.writestr("__MACOSX/._IM1.dcm", b"junk")
        archive.writestr("notes.txt", "hello")
        archive.writestr("empty/", "")
    found = find_sources([path])
    named = sorted((source.inside.as_posix(), source.stem) for source in found.sources)
    assert named == [(".", "absolute"), (".", "evil"), ("one", "IM1"), ("two", "IM1")]
    assert {source.folder for source in found.sources} == {tmp_path}
    assert found.skipped == {"hidden or special file": 1, "no radiograph by its content": 1}
    for source in found.sources:
        assert read_radiograph(source).shape == (48, 64)
    assert [entry.name for entry in tmp_path.iterdir()] == ["studies.zip"]


def test_a_member_that_inflates_without_end_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.dcm", DICOM + bytes(1 << 22))
    (source,) = find_sources([path]).sources
    with pytest.raises(SourceError, match="longer than"):
        source.read(1 << 20)


def test_damaged_and_encrypted_archives(tmp_path: Path) -> None:
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("study.dcm", DICOM)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(SourceError, match=r"study\.zip: a zip archive that cannot be opened"):
        find_sources([path])
    marked = bytearray(whole)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        marked[whole.index(signature) + offset] |= 1  # the flag of an encrypted member
    path.write_bytes(marked)
    with pytest.raises(SourceError, match=r"no radiographs in it.*1 encrypted"):
        find_sources([path])
    damaged = bytearray(whole)
    for at in range(60, 400):
        damaged[at] ^= 0x5A
    path.write_bytes(damaged)
    with pytest.raises(SourceError):
        for source in find_sources([path]).sources:
            source.read()


def test_a_folder_without_radiographs(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no radiographs in it: it is empty"):
        find_sources([tmp_path])
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(SourceError, match=r"no radiographs in it \(1 no radiograph by its content\)"):
        find_sources([tmp_path])


def test_no_such_path(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"missing: no such file or folder"):
        find_sources([tmp_path / "missing"])
    with pytest.raises(SourceError, match="no radiographs found"):
        find_sources([])


def test_a_path_named_twice_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "study.dcm"
    path.write_bytes(DICOM)
    assert len(find_sources([path, path]).sources) == 1


@pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")
def test_links_and_pipes(tmp_path: Path) -> None:
    (tmp_path / "study.dcm").write_bytes(DICOM)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "pipe")
    found = find_sources([tmp_path])
    assert len(found.sources) == 1
    with pytest.raises(SourceError, match="not an ordinary file"):
        Source.of(tmp_path / "pipe").read()


def test_stems() -> None:
    assert stem_of("study.DCM") == "study"
    assert stem_of("1.2.840.10008.5") == "1.2.840.10008.5"
    assert stem_of("a.b.jpeg") == "a.b"
    assert stem_of(".png") == ".png"
