"""Files that are opened: names, sizes, archives, and what is left of them."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import struct
import threading
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest

from roentmod_fast.app import files, server
from roentmod_fast.app.files import TooLargeError, ascii_name, check_archive, shown_name
from roentmod_fast.app.folder import PrivateFolder
from roentmod_fast.app.sitting import Sitting
from roentmod_fast.errors import SourceError
from roentmod_fast.phantom import draw
from roentmod_fast.pipeline import FILES_LOCK
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.dicom.write import write_sample
from roentmod_fast.radiograph.raster import edit_png
from tests.study.page.conftest import result_of

from .conftest import Served, eventually

ODD = {
    "../../etc/passwd": "passwd",
    "..\\..\\windows\\system.ini": "system.ini",
    "/etc/cron.d/job": "job",
    "C:\\Users\\a\\chest.dcm": "chest.dcm",
    "..": "image",
    ".": "image",
    "": "image",
    "a/": "image",
    "\x00\x1b[31mred\r\nSet-Cookie: a=b.dcm": "[31mredSet-Cookie_ a=b.dcm",
    "<img src=x onerror=alert(1)>.dcm": "_img src=x onerror=alert(1)_.dcm",
    "</script><script>alert(1)</script>": "script_",
    '"; filename="evil.exe': "_; filename=_evil.exe",
    "gpj.\u202emcd.exe": "gpj.mcd.exe",
    "zero\u200bwidth\u2028line.dcm": "zerowidthline.dcm",
    "Thorax Müller é.dcm": "Thorax Müller é.dcm",
    "胸部.dcm": "胸部.dcm",
    "%2e%2e%2f%00.dcm": "%2e%2e%2f%00.dcm",
    "x" * 500 + ".dcm": "x" * 120,
    "\ud800.dcm": ".dcm",
}


@pytest.mark.parametrize("name", ODD)
def test_a_name_is_one_part_without_what_is_not_seen(name: str) -> None:
    assert shown_name(name) == ODD[name]


@pytest.mark.parametrize("name", [name for name in ODD if "\ud800" not in name])
def test_an_odd_name_leads_nowhere_and_is_shown_as_text(served: Served, chest: Path, name: str) -> None:
    before = {path for path in served.folder.parent.rglob("*") if served.folder not in path.parents}
    film = served.open(chest, quote(name))
    assert film["name"] == ODD[name] and film["rows"] == 160
    [stored] = served.files()
    assert stored.isalnum() and len(stored) == 24
    assert {path for path in served.folder.parent.rglob("*") if served.folder not in path.parents} == before


def test_a_film_is_found_while_another_is_read(chest: Path, tmp_path: Path) -> None:
    with contextlib.closing(PrivateFolder(tmp_path)) as folder:
        sitting = Sitting(folder)
        [film], _ = sitting.open_given(chest)
        [other], _ = sitting.open_given(chest)
        found = threading.Event()

        def ask() -> None:
            sitting.close(sitting.film(other.id))
            found.set()

        threads = [threading.Thread(target=sitting.radiograph, args=[film]), threading.Thread(target=ask)]
        with FILES_LOCK:  # as an archive holds it while it is listed
            for thread in threads:
                thread.start()
            assert found.wait(10), "the event loop would stand still"
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("name", list(ODD))
def test_a_name_in_a_header_is_ascii_and_of_one_part(name: str) -> None:
    plain = ascii_name(f"{shown_name(name)}.edema.dcm")
    assert plain.endswith(".dcm") and not plain.startswith(".")
    assert plain.isascii() and not set(plain) & set("/\\\"'<>:;\r\n\0 ") and len(plain) < 140


def test_a_file_that_is_no_radiograph_is_refused_in_the_librarys_words_and_leaves_nothing(served: Served) -> None:
    for data, words in (
        (b"hello, no image", "notes.txt: not a radiograph: expected a DICOM, PNG or JPEG file"),
        (b"", "an empty file: expected a radiograph"),
        (b"\x89PNG\r\n\x1a\nbroken", "notes.txt: "),
        (b"PK\x03\x04broken", "notes.txt: "),
    ):
        answer = served.post("api/open?name=notes.txt", data)
        assert answer.status == 422 and answer.json()["error"].startswith(words), answer.body
        assert str(served.folder) not in answer.body.decode()
        assert served.files() == set()


def test_a_refused_film_names_its_doubts_and_goes_on_where_it_is_forced(served: Served, chest: Path) -> None:
    radiograph = read_dicom(chest.read_bytes(), "chest.dcm")
    result = result_of(radiograph)
    film = served.open(edit_png(radiograph, result.image, result.provenance), "edit.png")
    refused = film["refused"]
    assert refused["doubts"] == ["synthetic"] and refused["forcible"] is True
    assert refused["message"].startswith("edit.png: already synthetic") and "--force synthetic" in refused["message"]
    assert film["thumb"].startswith("data:image/jpeg;base64,") and film["rows"] == 160
    for path, body in (("api/edit", {"film": film["id"], "prompt": "edema"}),):
        answer = served.post(path, body)
        assert answer.status == 422 and answer.json()["error"] == refused["message"]
    assert served.get(f"api/film/{film['id']}").json()["error"] == refused["message"]
    for doubts, status in ((["nonsense"], 422), ([], 422), ("synthetic", 422), (["view"], 200)):
        answer = served.post("api/force", {"film": film["id"], "doubts": doubts})
        assert answer.status == status
    assert answer.json()["refused"]["doubts"] == ["synthetic"]
    forced = served.post("api/force", {"film": film["id"], "doubts": ["synthetic"]}).json()
    assert forced["refused"] is None and any(note.startswith("forced: ") for note in forced["notes"])
    assert served.get(f"api/film/{film['id']}").status == 200


def test_a_declared_length_over_the_limit_is_refused_before_a_byte_is_read(served: Served) -> None:
    head = (
        f"POST /{served.token}/api/open?name=a HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nX-Roentmod: {served.token}"
    )
    for length in (str(2 << 30), str(files.MAX_UPLOAD + 1)):
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
            connection.sendall(f"{head}\r\nContent-Length: {length}\r\n\r\n".encode())
            answer = connection.makefile("rb")
            assert b" 413 " in answer.readline()
    assert served.files() == set()


def test_a_stream_over_the_limit_is_cut_off_and_removed(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_UPLOAD", 1 << 20)
    longest = 0

    def parts():  # type: ignore[no-untyped-def]
        nonlocal longest
        for _ in range(32):
            longest = max([longest, *(path.stat().st_size for path in served.folder.iterdir())])
            yield b"\0" * (1 << 16)

    answer = served.request("POST", f"/{served.token}/api/open?name=a", parts(), served.own_headers())
    assert answer.status == 413 and answer.json() == {"error": "longer than 1 MiB: not a radiograph"}
    assert 0 < longest <= 1 << 20
    assert served.files() == set()


def test_a_long_request_in_json_is_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_JSON", 1000)
    assert served.post("api/edit", b" " * 1001).status == 413


def test_a_browser_that_closes_in_the_middle_of_an_upload_leaves_nothing(served: Served, chest: Path) -> None:
    head = (
        f"POST /{served.token}/api/open?name=a HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nX-Roentmod: {served.token}"
    )
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(f"{head}\r\nContent-Length: 1000000\r\n\r\n".encode() + b"\0" * 1000)
        eventually(lambda: len(served.files()) == 1)
    eventually(lambda: served.files() == set())
    assert served.open(chest)["refused"] is None


# --- archives ---------------------------------------------------------------------------------------------------------


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_an_archive_gives_its_films_in_order_and_lines_on_the_rest(served: Served, chest: Path, tmp_path: Path) -> None:
    write_sample(tmp_path / "other.dcm", draw(130, 5).image, seed=5)
    members = {
        "b/IM1": (tmp_path / "other.dcm").read_bytes(),
        "a/IM1": chest.read_bytes(),
        "../../../evil.dcm": chest.read_bytes(),
        "notes.txt": b"no image",
        "inner.zip": zipped({"c.dcm": chest.read_bytes()}),
        "bad.dcm": chest.read_bytes()[:700],
    }
    answer = served.post("api/open?name=study.zip", zipped(members)).json()
    names = [film["name"] for film in answer["films"]]
    assert names == ["study.zip:image/image/image/evil.dcm", "study.zip:a/IM1", "study.zip:b/IM1"]
    assert [film["rows"] for film in answer["films"]] == [160, 160, 130]
    assert "skipped 2 files: no radiograph by its content" in answer["notes"]
    assert any(line.startswith("study.zip:bad.dcm: ") for line in answer["notes"])
    assert str(served.folder) not in json.dumps(answer)
    assert len(served.files()) == 1
    for film in answer["films"][:2]:
        served.post("api/close", {"film": film["id"]})
    assert len(served.files()) == 1
    assert served.get(f"api/film/{answer['films'][2]['id']}").status == 200


def test_a_bomb_is_refused_by_its_ratio(served: Served) -> None:
    bomb = zipped({"chest.dcm": b"\0" * (files.FREE_RATIO_BYTES + 1)})
    assert len(bomb) < 100_000
    answer = served.post("api/open?name=bomb.zip", bomb)
    assert answer.status == 413 and "bomb.zip: a member unpacks to more than 200 times" in answer.json()["error"]
    assert served.files() == set()


def test_a_bomb_is_refused_by_all_that_it_unpacks_to(
    served: Served, chest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_UNPACKED", 150_000)
    answer = served.post("api/open?name=b.zip", zipped({f"{n}.dcm": chest.read_bytes() for n in range(3)}))
    assert answer.status == 413 and "unpacks to more than" in answer.json()["error"]


def test_a_bomb_within_an_archive_is_never_opened(served: Served) -> None:
    inner = zipped({f"{n}.dcm": b"\0" * (1 << 22) for n in range(4)})
    for _ in range(3):
        inner = zipped({f"{n}.zip": inner for n in range(3)}, zipfile.ZIP_STORED)
    answer = served.post("api/open?name=nested.zip", inner)
    assert answer.status == 422 and "nested.zip: no radiographs in it (3 no radiograph" in answer.json()["error"]
    assert served.files() == set()


def test_a_member_gives_no_more_than_its_header_says(served: Served) -> None:
    bomb = bytearray(zipped({"chest.dcm": b"\0" * (files.FREE_RATIO_BYTES + 1)}))
    size = struct.pack("<L", files.FREE_RATIO_BYTES + 1)
    assert bomb.count(size) == 2
    answer = served.post("api/open?name=liar.zip", bytes(bomb.replace(size, struct.pack("<L", 200))))
    assert answer.status == 422 and answer.json()["error"].startswith("liar.zip: no radiographs in it")


def test_too_many_members_are_refused_before_and_after_the_directory_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "many.zip"
    path.write_bytes(zipped({str(n): b"" for n in range(30)}))
    empty = zipped({})
    check_archive(path, "many.zip")
    monkeypatch.setattr(files, "MAX_MEMBERS", 29)
    with pytest.raises(TooLargeError, match="30 members: more than 29"):
        check_archive(path, "many.zip")

    def never(*arguments: object) -> None:
        raise AssertionError("the directory is parsed")

    monkeypatch.setattr(zipfile, "ZipFile", never)
    end = bytearray(path.read_bytes())
    end[-10:-6] = struct.pack("<L", files.MAX_DIRECTORY + 1)
    path.write_bytes(end)
    with pytest.raises(TooLargeError, match="more than 29 members"):
        check_archive(path, "many.zip")
    zip64 = b"PK\x06\x06" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 30, 30, 1 << 40, 0)
    path.write_bytes(zip64 + b"PK\x06\x07" + b"\0" * 16 + empty)
    with pytest.raises(TooLargeError, match="more than 29 members"):
        check_archive(path, "many.zip")


@pytest.mark.parametrize("data", [b"PK\x03\x04", b"PK\x05\x06", b"PK\x05\x06" + b"\xff" * 18])
def test_a_broken_archive_is_an_error_of_one_line(served: Served, data: bytes) -> None:
    answer = served.post("api/open?name=broken.zip", data)
    assert answer.status in (413, 422) and answer.json()["error"].startswith("broken.zip: ")
    assert served.files() == set()


def test_more_films_than_can_be_shown_are_refused(served: Served, chest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roentmod_fast.app import sitting

    monkeypatch.setattr(sitting, "MAX_FILMS", 1)
    served.open(chest)
    answer = served.post("api/open?name=b.dcm", chest.read_bytes())
    assert answer.status == 413 and "close some" in answer.json()["error"]


def test_a_folder_and_files_of_the_command_are_opened_as_copies(served: Served, chest: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    for name in ("b.dcm", "a.dcm"):
        (study / name).write_bytes(chest.read_bytes())
    (study / "notes.txt").write_text("no image")
    with zipfile.ZipFile(study / "more.zip", "w") as archive:
        archive.write(chest, "chest.dcm")
    films, left_out = served.app.sitting.open_given(study)
    assert sum(line.startswith("skipped 1 file: ") for line in left_out) == 2
    assert [film.source.name for film in films] == ["a.dcm", "b.dcm"]
    assert [film.typed for film in films] == [str(study / "a.dcm"), str(study / "b.dcm")]
    (study / "a.dcm").unlink()
    assert served.get(f"api/film/{films[0].id}").status == 200
    for path in (tmp_path / "none.dcm", study / "notes.txt"):
        with pytest.raises(SourceError):
            served.app.sitting.open_given(path)
