import errno
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections import namedtuple
from pathlib import Path

import pytest

from dlcvkit.data import download, store
from dlcvkit.data.errors import DataError

SCRIPT = Path(__file__).parents[2] / "data_download.sh"


def pack(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, contents in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(contents)
            tar.addfile(info, io.BytesIO(contents))
    return buffer.getvalue()


@pytest.fixture
def course(tmp_path):
    """A mirror with an archive and a plain file, a manifest that lists them, and an empty data folder."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    archive = pack({"toys/one": b"1", "toys/two": b"22"})
    (mirror / "toys.tar.gz").write_bytes(archive)
    (mirror / "plain.bin").write_bytes(b"plain")
    manifest = tmp_path / "manifest.toml"
    manifest.write_text(
        f"[toys]\ntitle = 'Toys'\n[[toys.file]]\nname = 'toys.tar.gz'\nmd5 = '{hashlib.md5(archive).hexdigest()}'\n"
        f"size = {len(archive)}\nunpack = '.'\nunpacked = 1000\n"
        f"[[plain.file]]\nname = 'plain.bin'\nfolder = 'sub'\nsha256 = '{hashlib.sha256(b'plain').hexdigest()}'\n"
        "[[sized.file]]\nname = 'plain.bin'\nfolder = 'sized'\nsize = 5\n"
    )
    return Course(tmp_path / "data", mirror, manifest)


class Course(namedtuple("Course", "home mirror manifest")):
    def run(self, *arguments, mirror=True):
        source = ["--mirror", str(self.mirror)] if mirror else []
        return download.main([*arguments, "--dest", str(self.home), "--manifest", str(self.manifest), *source])

    def tree(self):
        return sorted(path.relative_to(self.home).as_posix() for path in self.home.rglob("*") if path.is_file())


WHOLE = ["toys.tar.gz", "toys.tar.gz.contents", "toys/one", "toys/two"]


def one_line(text):
    assert text.count("\n") == 1, text
    return text


def test_a_dataset_is_fetched_and_unpacked(course, capsys):
    assert course.run("toys") == 0
    assert capsys.readouterr().out == f"toys: fetched to {course.home}\n"
    assert course.tree() == WHOLE


def test_the_second_run_downloads_nothing_and_says_so(course, capsys, monkeypatch):
    course.run("toys", "plain")
    capsys.readouterr()
    monkeypatch.setattr(store, "fetch_file", lambda *_, **__: pytest.fail("fetched again"))
    monkeypatch.setattr(store, "unpack_archive", lambda *_, **__: pytest.fail("unpacked again"))
    assert course.run("toys", "plain") == 0
    assert capsys.readouterr().out.count("already here, nothing to do") == 2


def test_an_archive_deleted_after_unpacking_is_not_fetched_again(course, monkeypatch):
    course.run("toys")
    (course.home / "toys.tar.gz").unlink()
    monkeypatch.setattr(store, "fetch_file", lambda *_, **__: pytest.fail("fetched again"))
    assert course.run("toys") == 0


def test_a_missing_member_is_unpacked_again_without_fetching(course, monkeypatch):
    course.run("toys")
    (course.home / "toys/one").unlink()
    monkeypatch.setattr(store, "fetch_file", lambda *_, **__: pytest.fail("fetched again"))
    assert course.run("toys") == 0
    assert course.tree() == WHOLE


def test_another_archive_of_the_same_name_replaces_the_old_contents(course):
    course.run("toys")
    archive = pack({"toys/three": b"333"})
    (course.mirror / "toys.tar.gz").write_bytes(archive)
    course.manifest.write_text(
        f"[[toys.file]]\nname = 'toys.tar.gz'\nmd5 = '{hashlib.md5(archive).hexdigest()}'\nunpack = '.'\n"
    )
    assert course.run("toys") == 0
    assert course.tree() == ["toys.tar.gz", "toys.tar.gz.contents", "toys/three"]


def test_a_file_url_is_a_mirror_too(course):
    assert course.run("plain", "--mirror", course.mirror.as_uri(), mirror=False) == 0
    assert (course.home / "sub/plain.bin").read_bytes() == b"plain"


def test_unknown_names_are_refused_before_anything_is_fetched(course, capsys):
    assert course.run("plain", "tois") == 2
    assert one_line(capsys.readouterr().err) == "data_download: unknown dataset 'tois'; did you mean toys?\n"
    assert course.run("qqqq") == 2
    assert "known are cifar10, mnist" in one_line(capsys.readouterr().err)
    assert not course.home.exists()


def test_naming_nothing_says_what_there_is(course, capsys):
    assert course.run() == 2
    assert "name what to fetch: cifar10, mnist" in one_line(capsys.readouterr().err)


def test_all_stands_for_every_dataset(course):
    known = download.load_manifest(course.manifest)
    assert download.choose(["toys", "all"], known) == list(known.values())
    assert [dataset.name for dataset in download.choose(["toys", "plain", "toys"], known)] == ["toys", "plain"]


@pytest.mark.parametrize("mirror", ["/no/such/folder", "file:///no/such/folder", "ftp://host/folder"])
def test_a_mirror_that_cannot_be_is_refused(course, capsys, mirror):
    assert course.run("toys", "--mirror", mirror, mirror=False) == 2
    assert f"mirror {mirror} " in one_line(capsys.readouterr().err)
    assert not course.home.exists()


def test_a_file_missing_from_the_mirror_leaves_nothing(course, capsys):
    (course.mirror / "plain.bin").unlink()
    assert course.run("plain") == 2
    assert "plain.bin cannot be read: No such file" in one_line(capsys.readouterr().err)
    assert not course.home.exists()


def test_a_checksum_mismatch_leaves_nothing(course, capsys):
    (course.mirror / "toys.tar.gz").write_bytes(pack({"toys/evil": b"x"}))
    assert course.run("toys") == 2
    error = one_line(capsys.readouterr().err)
    assert "its md5 is" in error
    assert "expected" in error
    assert not course.home.exists()


def test_a_truncated_file_leaves_nothing(course, capsys):
    (course.mirror / "plain.bin").write_bytes(b"pla")
    assert course.run("sized") == 2
    assert "truncated or another file: it has 3 bytes, expected 5" in one_line(capsys.readouterr().err)
    assert not course.home.exists()


def test_a_hostile_archive_is_refused_and_removed(course, capsys):
    archive = pack({"toys/one": b"1", "../evil": b"x"})
    (course.mirror / "toys.tar.gz").write_bytes(archive)
    course.manifest.write_text(
        f"[[toys.file]]\nname = 'toys.tar.gz'\nmd5 = '{hashlib.md5(archive).hexdigest()}'\nunpack = '.'\n"
    )
    assert course.run("toys") == 2
    assert "holds '../evil', which leads out of its folder; removed" in one_line(capsys.readouterr().err)
    assert course.tree() == []
    assert not (course.home.parent / "evil").exists()


def test_a_bomb_is_refused_by_the_size_in_the_manifest(course, capsys):
    archive = pack({"toys/big": bytes(2000)})
    (course.mirror / "toys.tar.gz").write_bytes(archive)
    course.manifest.write_text("[[toys.file]]\nname = 'toys.tar.gz'\nunpack = '.'\nunpacked = 1000\n")
    assert course.run("toys") == 2
    assert "unpacks to more than 1000 bytes" in one_line(capsys.readouterr().err)
    assert course.tree() == []


def test_a_full_disk_is_seen_before_anything_is_fetched(course, capsys, monkeypatch):
    usage = shutil.disk_usage(course.mirror)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert course.run("toys") == 2
    assert "the disk is too full for toys.tar.gz: it needs" in one_line(capsys.readouterr().err)
    assert not course.home.exists()


def test_a_disk_that_fills_up_while_unpacking_keeps_the_archive_for_the_next_run(course, capsys, monkeypatch):
    def fill_up(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", fill_up)
        assert course.run("toys") == 2
    assert f"toys.tar.gz cannot be unpacked to {course.home}: No space left" in one_line(capsys.readouterr().err)
    assert course.tree() == ["toys.tar.gz"]
    assert course.run("toys") == 0
    assert course.tree() == WHOLE


def test_a_destination_that_is_a_file_is_refused(course, capsys):
    course.home.write_text("")
    assert course.run("toys") == 2
    assert f"{course.home} cannot be written" in one_line(capsys.readouterr().err)


def test_the_other_datasets_are_fetched_when_one_fails(course, capsys):
    (course.mirror / "toys.tar.gz").unlink()
    assert course.run("toys", "plain") == 2
    captured = capsys.readouterr()
    assert captured.out == f"plain: fetched to {course.home}\n"
    assert one_line(captured.err).startswith("data_download: toys: ")


def test_a_malformed_manifest_is_one_line(course, capsys):
    course.manifest.write_text("toys = [")
    assert course.run("toys") == 2
    assert "is not TOML" in one_line(capsys.readouterr().err)


def test_an_unknown_option_is_one_line(course, capsys):
    assert course.run("--bogus") == 2
    assert one_line(capsys.readouterr().err) == "data_download: No such option: --bogus; --help shows the options\n"


def test_an_interrupt_is_told(course, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "fetch_dataset", interrupt)
    assert course.run("toys") == 130
    assert capsys.readouterr().err == "data_download: toys: interrupted; run again to go on\n"


def test_list_says_what_is_here_and_what_vouches_for_it(course, capsys):
    course.run("toys")
    capsys.readouterr()
    assert course.run("--list") == 0
    listing = capsys.readouterr().out
    assert "toys [here]  Toys\n" in listing
    assert "plain [not here]" in listing
    assert "no checksum: only the size is checked" in listing
    assert "val2017.zip  815.6 MB  md5:442b8da7639aecaf257c1dceb8ba8c80 (COCO publishes none" in listing


def test_verify_finds_everything_intact(course, capsys):
    course.run("toys", "plain")
    capsys.readouterr()
    assert course.run("--verify") == 0
    assert capsys.readouterr().out == "toys: toys.tar.gz is intact\nplain: plain.bin is intact\n"


def test_verify_of_an_empty_folder_says_so(course, capsys):
    assert course.run("--verify") == 0
    assert capsys.readouterr().out == f"there is nothing to verify in {course.home}\n"


@pytest.mark.parametrize(
    ("name", "path", "contents", "message"),
    [
        ("plain", "sub/plain.bin", b"PLAIN", "its sha256 is"),
        ("toys", "toys/one", b"!", "has changed since it was unpacked"),
        ("toys", "toys/one", None, "is missing; it belongs to toys.tar.gz"),
        ("toys", "toys.tar.gz", b"short", "its md5 is"),
        ("toys", "toys.tar.gz.contents", None, "is not unpacked"),
        ("plain", "sub/plain.bin", None, "plain.bin is not in"),
    ],
)
def test_verify_finds_damage_and_fetching_mends_it(course, capsys, name, path, contents, message):
    course.run(name)
    capsys.readouterr()
    if contents is None:
        (course.home / path).unlink()
    else:
        (course.home / path).write_bytes(contents)
    assert course.run(name, "--verify") == 2
    assert message in one_line(capsys.readouterr().err)
    assert course.run(name) == 0
    assert course.run(name, "--verify") == 0


def test_choose_raises_for_an_unknown_name():
    with pytest.raises(DataError, match="did you mean mnist"):
        download.choose(["minst"], download.load_manifest())


def run_script(*arguments, cwd, script=SCRIPT, **environment):
    settings = {key: value for key, value in os.environ.items() if key != "DLCVKIT_DATA"} | environment
    return subprocess.run([script, *arguments], cwd=cwd, env=settings, capture_output=True, text=True, check=False)


def test_the_script_works_from_any_folder_and_uses_the_folder_of_its_course(course, tmp_path):
    copied = Path(shutil.copy(SCRIPT, tmp_path))
    (tmp_path / "course.toml").touch()
    (tmp_path / "elsewhere").mkdir()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = run_script(
        "plain",
        "--mirror",
        course.mirror,
        "--manifest",
        course.manifest,
        cwd=tmp_path / "elsewhere",
        script=copied,
        PATH=path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "data/sub/plain.bin").read_bytes() == b"plain"


def test_the_script_says_in_one_line_that_the_kit_is_not_installed(tmp_path):
    copied = Path(shutil.copy(SCRIPT, tmp_path))
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/python3"
    fake.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    fake.chmod(0o755)
    done = run_script("--list", cwd=tmp_path, script=copied, PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert done.returncode == 2
    assert "cannot import dlcvkit" in one_line(done.stderr)
    assert done.stdout == ""
