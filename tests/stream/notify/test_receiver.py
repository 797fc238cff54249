"""What an HTTP answer means: taken, never, or later."""

from __future__ import annotations

import socket
import threading

import pytest

from stream.broker import free_ports
from stream.notify.receiver import NotNow, Receiver, Refused
from tests.support.receivers import HttpReceiver


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_is_a_receipt(status: int) -> None:
    with HttpReceiver() as site:
        site.answer = lambda _path, _body: status
        Receiver(f"{site.address}/hooks/ward", timeout_s=5).post(b"{}", {"x-more": "1"})
    (post,) = site.posts
    assert (post.path, post.body, post.headers["x-more"]) == ("/hooks/ward", b"{}", "1")


@pytest.mark.parametrize(
    ("address", "path", "target"),
    [
        ("", "", "/"),
        ("/", "", "/"),
        ("/hook/", "", "/hook/"),
        ("?key=1", "", "/?key=1"),
        ("/hook?key=1", "", "/hook?key=1"),
        ("", "/api/v2/alerts", "/api/v2/alerts"),
        ("/prefix/", "/api/v2/alerts", "/prefix/api/v2/alerts"),
        ("/prefix?key=1", "/api/v2/alerts", "/prefix/api/v2/alerts?key=1"),
    ],
)
def test_the_path_of_the_address_is_kept(address: str, path: str, target: str) -> None:
    with HttpReceiver() as site:
        Receiver(site.address + address, timeout_s=5).post(b"{}", {}, path)
    assert [post.path for post in site.posts] == [target]


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 410, 422])
def test_a_redirect_or_a_4xx_is_a_refusal_and_nothing_follows_it(status: int) -> None:
    with HttpReceiver() as site:
        site.answer = lambda _path, _body: status
        with pytest.raises(Refused, match=str(status)):
            Receiver(site.address, timeout_s=5).post(b"{}", {})
    assert len(site.posts) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 599])
def test_busy_means_later_for_this_one(status: int) -> None:
    with HttpReceiver() as site:
        site.answer = lambda _path, _body: status
        with pytest.raises(NotNow) as later:
            Receiver(site.address, timeout_s=5).post(b"{}", {})
    assert not later.value.nobody_there


def test_nobody_at_the_address_means_later_for_all() -> None:
    (port,) = free_ports(1)
    with pytest.raises(NotNow) as later:
        Receiver(f"http://127.0.0.1:{port}", timeout_s=5).post(b"{}", {})
    assert later.value.nobody_there


def test_a_receiver_that_hangs_is_left_after_its_time() -> None:
    release = threading.Event()
    with HttpReceiver() as site:
        site.answer = lambda _path, _body: 200 if release.wait(30) else 500
        with pytest.raises(NotNow, match="TimeoutError"):
            Receiver(site.address, timeout_s=0.2).post(b"{}", {})
        release.set()


def test_an_answer_that_is_not_http_means_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"SSH-2.0-OpenSSH_9\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(NotNow):
            Receiver(f"http://127.0.0.1:{server.getsockname()[1]}", timeout_s=5).post(b"{}", {})
        thread.join()


@pytest.mark.parametrize("address", ["", "alertmanager:9093", "ftp://host/x", "http://", "http://me:secret@host/"])
def test_an_address_that_is_none_is_refused_without_saying_it(address: str) -> None:
    with pytest.raises(ValueError, match="the address is not") as refused:
        Receiver(address, timeout_s=5)
    assert "secret" not in str(refused.value)
