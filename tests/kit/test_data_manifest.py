import pytest

from dlcvkit.data.errors import DataError
from dlcvkit.data.manifest import load_manifest, parse_manifest


def one_file(text):
    return parse_manifest(f"[[d.file]]\nname = 'f.bin'\n{text}", "test")["d"].files[0]


def test_the_shipped_manifest_lists_the_course_data_with_the_published_checksums():
    known = load_manifest()
    assert list(known) == ["cifar10", "mnist", "coco-annotations", "coco-val", "squeezenet"]
    assert known["cifar10"].files[0].identity == "md5:c58f30108f718f92721af3b95e74349a"
    assert known["cifar10"].files[0].size == 170498071
    assert [file.digest for file in known["mnist"].files] == [
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ]
    assert known["squeezenet"].files[0].identity == "sha256:b8a52dc0"


def test_each_shipped_file_has_an_address_ending_in_its_name_and_a_checksum():
    for dataset in load_manifest().values():
        for file in dataset.files:
            assert file.urls, file.name
            assert all(url.endswith("/" + file.name) for url in file.urls)
            assert file.digest, file.name
            assert file.checksum_note, file.name


def test_a_further_manifest_adds_and_replaces(tmp_path):
    (tmp_path / "m.toml").write_text("[[new.file]]\nname = 'n'\n[[cifar10.file]]\nname = 'c'\nsize = 3\n")
    known = load_manifest(tmp_path / "m.toml")
    assert known["new"].files[0].name == "n"
    assert known["cifar10"].files[0].identity == "size:3"
    assert "mnist" in known


def test_a_checksum_may_be_in_capitals():
    assert one_file(f"md5 = '{'AB' * 16}'").digest == "ab" * 16


def test_a_file_without_checksum_and_size_is_known_by_nothing():
    assert one_file("").identity == "unchecked"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = [", "is not TOML"),
        ("a = 1", "a needs at least one"),
        ("[a]\ntitle = 'x'", "a needs at least one"),
        ("[a]\nfile = [1]", "a needs at least one"),
        ("[a]\ntitle = 1\n[[a.file]]\nname = 'f'", "title must be a text"),
        ("[[a.file]]\nsize = 1", "name must be a plain file name"),
        ("[[a.file]]\nname = '../f'", "name must be a plain file name"),
        ("[[a.file]]\nname = '..'", "name must be a plain file name"),
        ("[[a.file]]\nname = 'f'\nfolder = '/etc'", "folder must stay inside"),
        ("[[a.file]]\nname = 'f'\nunpack = 'x/../..'", "unpack must stay inside"),
        ("[[a.file]]\nname = 'f'\nsize = -1", "size must be a number of bytes, not -1"),
        ("[[a.file]]\nname = 'f'\nsize = true", "size must be a number of bytes"),
        ("[[a.file]]\nname = 'f'\nurls = 'http://x/f'", "urls must be a list of addresses"),
        ("[[a.file]]\nname = 'f'\nurls = ['x/f']", "urls must be a list of addresses"),
        ("[[a.file]]\nname = 'f'\nmd5 = 'abc'", "md5 of f is not a checksum"),
        (f"[[a.file]]\nname = 'f'\nmd5 = '{'0' * 32}'\nsha256 = '{'0' * 64}'", "give one checksum"),
        ("[[a.file]]\nname = 'f'\nmd6 = 'abc'", "unknown key 'md6'"),
    ],
)
def test_a_malformed_manifest_is_refused_with_its_name_and_the_place(text, message):
    with pytest.raises(DataError, match=message) as caught:
        parse_manifest(text, "some.toml")
    assert str(caught.value).startswith("manifest some.toml")


def test_an_unreadable_manifest_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_manifest(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b"title = '\xff'")
    with pytest.raises(DataError, match="cannot be read: not UTF-8"):
        load_manifest(tmp_path / "latin.toml")
