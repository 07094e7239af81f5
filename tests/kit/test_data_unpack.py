import errno
import io
import shutil
import stat
import tarfile
import zipfile

import pytest

from dlcvkit.data.unpack import UnsafeArchiveError, unpack_archive


def make_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, contents in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(contents, bytes):
                info.size = len(contents)
                tar.addfile(info, io.BytesIO(contents))
            else:
                info.type, info.linkname = contents
                tar.addfile(info)
    return path


def make_zip(path, members, mode=0):
    with zipfile.ZipFile(path, "w") as bundle:
        for name, contents in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            bundle.writestr(info, contents)
    return path


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_archive_is_unpacked(tmp_path, mode):
    archive = make_tar(tmp_path / "a.tar", {"d/one": b"1", "d/e/two": b"22"}, mode)
    written = unpack_archive(archive, tmp_path / "out")
    assert [path.as_posix() for path in written] == ["d/e/two", "d/one"]
    assert (tmp_path / "out/d/e/two").read_bytes() == b"22"
    assert tree(tmp_path / "out") == ["d", "d/e", "d/e/two", "d/one"]


def test_a_zip_archive_is_unpacked(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"d/": b"", "d/one": b"1"})
    unpack_archive(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == ["d", "d/one"]


def test_a_new_version_replaces_the_old_one_whole(tmp_path):
    unpack_archive(make_tar(tmp_path / "a.tar", {"d/one": b"1", "d/gone": b"x"}), tmp_path / "out")
    unpack_archive(make_tar(tmp_path / "b.tar", {"d/one": b"2"}), tmp_path / "out")
    assert tree(tmp_path / "out") == ["d", "d/one"]
    assert (tmp_path / "out/d/one").read_bytes() == b"2"


HOSTILE = {
    "parent": {"../evil": b"x"},
    "nested parent": {"d/../../evil": b"x"},
    "absolute": {"/tmp/dlcvkit-evil": b"x"},
    "drive": {"C:/evil": b"x"},
    "backslash": {"..\\evil": b"x"},
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_a_path_out_of_the_folder_is_refused(tmp_path, make, members):
    archive = make(tmp_path / ("a.zip" if make is make_zip else "a.tar"), {"good": b"1"} | members)
    before = tree(tmp_path)
    with pytest.raises(UnsafeArchiveError, match="leads out of its folder"):
        unpack_archive(archive, tmp_path / "out")
    assert tree(tmp_path) == [*before, "out"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_link_or_device_in_a_tar_is_refused(tmp_path, kind):
    archive = make_tar(tmp_path / "a.tar", {"good": b"1", "link": (kind, "good")})
    with pytest.raises(UnsafeArchiveError, match="'link', which is a link or a device"):
        unpack_archive(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == []


def test_a_link_in_a_zip_is_refused(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"link": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777)
    with pytest.raises(UnsafeArchiveError, match="'link', which is a link or a device"):
        unpack_archive(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == []


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, make):
    archive = make(tmp_path / ("a.zip" if make is make_zip else "a.tar"), {"one": bytes(600), "two": bytes(600)})
    with pytest.raises(UnsafeArchiveError, match="unpacks to more than 1000 bytes"):
        unpack_archive(archive, tmp_path / "out", limit=1000)
    assert tree(tmp_path / "out") == []


def test_an_archive_with_the_same_name_twice_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for contents in (b"1", b"2"):
            info = tarfile.TarInfo("one")
            info.size = 1
            tar.addfile(info, io.BytesIO(contents))
    with pytest.raises(UnsafeArchiveError, match="holds one twice"):
        unpack_archive(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.xz", "a.zip"])
@pytest.mark.parametrize("damage", ["garbage", "cut", "empty", "flipped"])
def test_a_damaged_archive_is_refused_and_leaves_nothing(tmp_path, name, damage):
    members = {"d/one": bytes(range(256)) * 100, "d/two": b"2" * 5000}
    mode = {"a.tar": "w", "a.tar.gz": "w:gz", "a.tar.xz": "w:xz"}.get(name)
    archive = make_tar(tmp_path / name, members, mode) if mode else make_zip(tmp_path / name, members)
    whole = archive.read_bytes()
    flipped = whole[:200] + bytes(byte ^ 255 for byte in whole[200:400]) + whole[400:]
    if name == "a.tar":
        flipped = bytes(byte ^ 255 for byte in whole[:400]) + whole[400:]
    archive.write_bytes(
        {"garbage": b"no archive" * 100, "cut": whole[: len(whole) // 2], "empty": b"", "flipped": flipped}[damage]
    )
    with pytest.raises(UnsafeArchiveError, match=r"is damaged|holds no files|leads out") as caught:
        unpack_archive(archive, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert tree(tmp_path / "out") == []


def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path, monkeypatch):
    unpack_archive(make_tar(tmp_path / "a.tar", {"d/one": b"1"}), tmp_path / "out")

    def fill_up(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", fill_up)
    with pytest.raises(OSError, match="No space left"):
        unpack_archive(make_tar(tmp_path / "b.tar", {"d/one": b"2"}), tmp_path / "out")
    assert tree(tmp_path / "out") == ["d", "d/one"]
    assert (tmp_path / "out/d/one").read_bytes() == b"1"
