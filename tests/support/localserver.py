"""A server of a test's own on a real socket of this machine."""

from __future__ import annotations

import socketserver
import threading
from typing import Self


class LocalServer:
    """Serves in a thread for the time of a block. ``address``: where, as a URL of ``scheme``."""

    def __init__(self, scheme: str, server: socketserver.TCPServer) -> None:
        self._server = server
        self.address = f"{scheme}://127.0.0.1:{server.server_address[1]}"
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
