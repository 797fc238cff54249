"""Downloads from a real HTTP server on this machine: whole, resumed, wrong, missing."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trainer.fetch import SETS, RemoteFile, RemoteSet, fetch
from vitals.findings import Task

CONTENT = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Publisher:
    """Serves ``files``; notes the Range of each request; cuts the connection after ``cut_at`` bytes, once."""

    files: dict[str, bytes]
    address: str = ""
    ranges: list[str | None] = field(default_factory=list)
    cut_at: int | None = None
    knows_ranges: bool = True


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    state = Publisher({})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.ranges.append(wanted)
            content = state.files.get(self.path.partition("?")[0])
            if content is None:
                self.send_error(404)
                return
            begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.knows_ranges else 0
            if begin and begin >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            body = content[begin:]
            if state.cut_at is not None:
                body, state.cut_at = body[: state.cut_at], None
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def one_file(publisher: Publisher, checksum: str = "") -> list[RemoteSet]:
    file = RemoteFile(f"{publisher.address}/a.bin?download=1", "set/a.bin", checksum)
    return [RemoteSet(frozenset({Task.BREAST}), (file,), "CC0")]


def test_a_missing_file_is_downloaded_and_one_that_is_there_is_not(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["/a.bin"] = CONTENT
    sets = one_file(publisher, f"sha256:{DIGEST}")
    assert fetch([Task.BREAST], tmp_path, sets) == []
    assert (tmp_path / "set/a.bin").read_bytes() == CONTENT
    assert fetch([Task.BREAST], tmp_path, sets) == []
    assert len(publisher.ranges) == 1


def test_a_set_of_another_task_is_left_alone(publisher: Publisher, tmp_path: Path) -> None:
    assert fetch([Task.GLUCOSE], tmp_path, one_file(publisher)) == []
    assert publisher.ranges == []


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_download_that_was_cut_off_goes_on_or_begins_again(
    publisher: Publisher, tmp_path: Path, knows_ranges: bool
) -> None:
    publisher.files["/a.bin"] = CONTENT
    publisher.cut_at, publisher.knows_ranges = 100_000, knows_ranges
    sets = one_file(publisher, f"sha256:{DIGEST}")
    assert len(fetch([Task.BREAST], tmp_path, sets)) == 1
    assert not (tmp_path / "set/a.bin").exists()
    assert fetch([Task.BREAST], tmp_path, sets) == []
    assert (tmp_path / "set/a.bin").read_bytes() == CONTENT
    assert publisher.ranges == [None, "bytes=100000-"]


def test_a_part_that_is_already_whole_is_checked_and_put_in_place(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["/a.bin"] = CONTENT
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.bin.part").write_bytes(CONTENT)
    assert fetch([Task.BREAST], tmp_path, one_file(publisher, f"sha256:{DIGEST}")) == []
    assert (tmp_path / "set/a.bin").read_bytes() == CONTENT


def test_wrong_content_is_removed_and_said(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["/a.bin"] = CONTENT[::-1]
    failures = fetch([Task.BREAST], tmp_path, one_file(publisher, f"sha256:{DIGEST}"))
    assert len(failures) == 1
    assert DIGEST in failures[0]
    assert list((tmp_path / "set").iterdir()) == []


def test_md5_of_a_publisher_that_has_nothing_better(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["/a.bin"] = CONTENT
    right = hashlib.md5(CONTENT).hexdigest()
    assert len(fetch([Task.BREAST], tmp_path, one_file(publisher, f"md5:{'0' * 32}"))) == 1
    assert fetch([Task.BREAST], tmp_path, one_file(publisher, f"md5:{right}")) == []


def test_checksums_published_beside_the_files_are_used(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files |= {"/x/a.bin": CONTENT, "/x/b.bin": CONTENT[::-1]}
    publisher.files["/x/SHA256SUMS.txt"] = f"{DIGEST} a.bin\n{DIGEST} b.bin\n".encode()
    files = tuple(RemoteFile(f"{publisher.address}/x/{name}", f"x/{name}") for name in ("a.bin", "b.bin"))
    sets = [RemoteSet(frozenset({Task.BREAST}), files, "CC0", sums_url=f"{publisher.address}/x/SHA256SUMS.txt")]
    failures = fetch([Task.BREAST], tmp_path, sets)
    assert len(failures) == 1
    assert "b.bin" in failures[0]
    assert (tmp_path / "x/a.bin").exists()


def test_a_file_the_publisher_does_not_have_does_not_stop_the_others(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["/there.bin"] = CONTENT
    files = tuple(RemoteFile(f"{publisher.address}/{name}", name) for name in ("gone.bin", "there.bin"))
    failures = fetch([Task.BREAST], tmp_path, [RemoteSet(frozenset({Task.BREAST}), files, "CC0")])
    assert len(failures) == 1
    assert "404" in failures[0]
    assert (tmp_path / "there.bin").exists()


def test_a_local_file_is_not_an_address(tmp_path: Path) -> None:
    sets = [RemoteSet(frozenset({Task.BREAST}), (RemoteFile("file:///etc/hostname", "x"),), "CC0")]
    assert fetch([Task.BREAST], tmp_path, sets) == ["file:///etc/hostname: not a web address"]


def test_every_trained_task_has_a_set_and_no_test_half_is_asked_for() -> None:
    assert frozenset.union(*(remote.tasks for remote in SETS)) == {
        Task.ECG_BEAT,
        Task.GLUCOSE,
        Task.PNEUMONIA,
        Task.BREAST,
        Task.ECG_AF,
    }
    records = {Path(file.path).stem for remote in SETS for file in remote.files if file.path.startswith("mitdb/")}
    second_half = {"100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210", "212", "213", "214"}
    second_half |= {"219", "221", "222", "228", "231", "232", "233", "234"}
    assert len(records) == 26
    assert not records & second_half
