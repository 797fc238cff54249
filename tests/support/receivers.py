"""A small HTTP receiver that remembers what it was sent, and answers, refuses or hangs as a test wants."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.localserver import LocalServer

DEADLINE_S = 30.0


@dataclass(frozen=True)
class Post:
    """One request. ``status`` is what it was answered."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    at_s: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class HttpReceiver(LocalServer):
    """``answer`` gives the status of each POST and may wait; everything that came is in ``posts``.

    On any free port for 0.
    """

    def __init__(self, port: int = 0) -> None:
        self.posts: list[Post] = []
        self.answer: Callable[[str, bytes], int] = lambda _path, _body: 200
        self._changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.answer(self.path, body)
                with receiver._changed:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    receiver.posts.append(Post(self.path, headers, body, status, time.monotonic()))
                    receiver._changed.notify_all()
                try:
                    self.send_response(status)
                    if 300 <= status < 400:
                        self.send_header("Location", "/elsewhere")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    pass  # the sender did not wait

            def log_message(self, *_: Any) -> None:
                return

        super().__init__("http", ThreadingHTTPServer(("127.0.0.1", port), Handler))

    def taken(self) -> list[Post]:
        """What was answered 200."""
        return [post for post in self.posts if post.status == 200]

    def wait_for(self, what: Callable[[list[Post]], Any], deadline_s: float = DEADLINE_S) -> Any:
        """Waits until ``what`` says something true of the posts, and returns that."""
        with self._changed:
            found = self._changed.wait_for(lambda: what(self.posts), deadline_s)
        if not found:
            raise TimeoutError(f"not received in {deadline_s} s; {len(self.posts)} posts came")
        return found


def until(what: Callable[[], Any], saying: str, deadline_s: float = DEADLINE_S) -> Any:
    """Waits until ``what`` returns something true, and returns that."""
    end = time.monotonic() + deadline_s
    while not (found := what()):
        if time.monotonic() > end:
            raise TimeoutError(f"{saying}: not in {deadline_s} s")
        time.sleep(0.02)
    return found
