import errno
import hashlib
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dlcvkit.data import transfer
from dlcvkit.data.errors import DataError
from dlcvkit.data.manifest import RemoteFile
from dlcvkit.data.transfer import fetch_file

CONTENTS = bytes(range(256)) * 4000
MD5 = hashlib.md5(CONTENTS).hexdigest()
FILE = RemoteFile(name="blob.bin", algorithm="md5", digest=MD5, size=len(CONTENTS))


class FlakyServer(ThreadingHTTPServer):
    """Serves CONTENTS at every path; its attributes say how it misbehaves, and `seen` lists the ranges asked for."""

    daemon_threads = True
    contents = CONTENTS
    breaks_after = ()
    failures = 0
    knows_ranges = True

    def __init__(self):
        self.seen = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/blob.bin"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.seen.append(asked)
        if self.path.startswith("/absent"):
            self.send_error(404)
            return
        if server.failures:
            server.failures -= 1
            self.send_error(503)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.knows_ranges else 0
        if start >= len(server.contents):
            self.send_error(416)
            return
        body = server.contents[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.contents) - 1}/{len(server.contents)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.breaks_after:
            first, *server.breaks_after = server.breaks_after
            body = body[:first]
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = FlakyServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(target, *urls, file=FILE):
    fetch_file(file, target, urls, pause=0)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file_is_put_in_place_and_nothing_else(server, tmp_path):
    fetch(tmp_path / "blob.bin", server.url)
    assert (tmp_path / "blob.bin").read_bytes() == CONTENTS
    assert names(tmp_path) == ["blob.bin"]


def test_a_broken_connection_is_continued_where_it_stopped(server, tmp_path):
    server.breaks_after = [300_000, 400_000]
    fetch(tmp_path / "blob.bin", server.url)
    assert (tmp_path / "blob.bin").read_bytes() == CONTENTS
    assert server.seen[0] is None
    starts = [int(asked[len("bytes=") : -1]) for asked in server.seen[1:]]
    assert starts == sorted(starts)
    assert 0 < starts[0] <= 300_000
    assert names(tmp_path) == ["blob.bin"]


def test_a_connection_that_keeps_breaking_leaves_a_part_that_the_next_run_continues(server, tmp_path):
    server.breaks_after = [transfer.CHUNK + 10, 0, 0, 0]
    with pytest.raises(DataError, match=r"broke off, the file is truncated; \d+ bytes are kept, run again to go on"):
        fetch(tmp_path / "blob.bin", server.url)
    assert names(tmp_path) == ["blob.bin.part"]
    kept = (tmp_path / "blob.bin.part").stat().st_size
    assert CONTENTS.startswith((tmp_path / "blob.bin.part").read_bytes())
    fetch(tmp_path / "blob.bin", server.url)
    assert server.seen[-1] == f"bytes={kept}-"
    assert (tmp_path / "blob.bin").read_bytes() == CONTENTS


def test_a_server_without_ranges_is_asked_from_the_start(server, tmp_path):
    server.knows_ranges = False
    (tmp_path / "blob.bin.part").write_bytes(CONTENTS[:1000])
    fetch(tmp_path / "blob.bin", server.url)
    assert (tmp_path / "blob.bin").read_bytes() == CONTENTS


@pytest.mark.parametrize("stale", [b"x" * 1000, CONTENTS + b"more"], ids=["other bytes", "too long"])
def test_a_part_of_another_file_is_thrown_away(server, tmp_path, stale):
    (tmp_path / "blob.bin.part").write_bytes(stale)
    fetch(tmp_path / "blob.bin", server.url)
    assert (tmp_path / "blob.bin").read_bytes() == CONTENTS


def test_a_part_is_not_continued_when_nothing_could_check_the_whole(server, tmp_path):
    (tmp_path / "blob.bin.part").write_bytes(b"x" * 1000)
    fetch(tmp_path / "blob.bin", server.url, file=RemoteFile(name="blob.bin"))
    assert (tmp_path / "blob.bin").read_bytes() == CONTENTS
    assert server.seen == [None]


def test_a_complete_part_is_used(server, tmp_path):
    (tmp_path / "blob.bin.part").write_bytes(CONTENTS)
    fetch(tmp_path / "blob.bin", server.url)
    assert (tmp_path / "blob.bin").read_bytes() == CONTENTS


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.failures = 2
    fetch(tmp_path / "blob.bin", server.url)
    assert len(server.seen) == 3


def test_a_server_that_stays_busy_is_given_up(server, tmp_path):
    server.failures = 99
    with pytest.raises(DataError, match="cannot be fetched: the server answers 503"):
        fetch(tmp_path / "blob.bin", server.url)
    assert names(tmp_path) == []


def test_an_absent_file_is_not_asked_for_twice(server, tmp_path):
    with pytest.raises(DataError, match="the server answers 404"):
        fetch(tmp_path / "blob.bin", server.url.replace("blob", "absent"))
    assert len(server.seen) == 1


def test_the_next_address_is_tried_when_one_fails(server, tmp_path):
    fetch(tmp_path / "blob.bin", server.url.replace("blob", "absent"), server.url)
    assert (tmp_path / "blob.bin").read_bytes() == CONTENTS


def test_a_wrong_checksum_names_both_and_removes_the_file(server, tmp_path):
    server.contents = CONTENTS[:-1] + b"!"
    got = hashlib.md5(server.contents).hexdigest()
    with pytest.raises(DataError, match=f"its md5 is {got}, expected {MD5}; the copy is removed"):
        fetch(tmp_path / "blob.bin", server.url)
    assert names(tmp_path) == []


def test_a_wrong_file_does_not_cost_the_one_that_is_here(server, tmp_path):
    (tmp_path / "blob.bin").write_bytes(b"older")
    server.contents = b"wrong"
    with pytest.raises(DataError, match="is truncated or another file"):
        fetch(tmp_path / "blob.bin", server.url)
    assert (tmp_path / "blob.bin").read_bytes() == b"older"
    assert names(tmp_path) == ["blob.bin"]


def test_a_short_file_is_called_truncated(server, tmp_path):
    server.contents = CONTENTS[:5000]
    file = RemoteFile(name="blob.bin", size=len(CONTENTS))
    with pytest.raises(DataError, match=f"truncated or another file: it has 5000 bytes, expected {len(CONTENTS)}"):
        fetch(tmp_path / "blob.bin", server.url, file=file)
    assert names(tmp_path) == []


def test_a_published_prefix_of_a_checksum_is_checked(server, tmp_path):
    sha = hashlib.sha256(CONTENTS).hexdigest()
    fetch(tmp_path / "a", server.url, file=RemoteFile(name="a", algorithm="sha256", digest=sha[:8]))
    with pytest.raises(DataError, match="its sha256 is"):
        fetch(tmp_path / "b", server.url, file=RemoteFile(name="b", algorithm="sha256", digest="0" * 8))


def test_no_network_is_one_line(tmp_path):
    server = FlakyServer()
    server.server_close()
    with pytest.raises(DataError, match=r"no connection to 127\.0\.0\.1:\d+; is there a network\?") as caught:
        fetch(tmp_path / "blob.bin", server.url)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_a_file_without_any_address_is_told(tmp_path):
    with pytest.raises(DataError, match="has no address in the manifest"):
        fetch(tmp_path / "blob.bin")


class FullDisk(io.BytesIO):
    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("local", [True, False], ids=["from a folder", "from a server"])
def test_a_disk_that_fills_up_is_told_and_freed(server, tmp_path, monkeypatch, local):
    source = tmp_path / "source.bin"
    source.write_bytes(CONTENTS)
    dest = tmp_path / "dest"

    def open_full(path, start):
        path.write_bytes(CONTENTS[:100])
        return FullDisk()

    monkeypatch.setattr(transfer, "open_part", open_full)
    with pytest.raises(DataError, match=r"the disk is full: blob\.bin does not fit in"):
        fetch(dest / "blob.bin", source.as_uri() if local else server.url)
    assert names(dest) == []
