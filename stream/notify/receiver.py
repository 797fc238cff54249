"""One HTTP address that takes POSTs, and the two ways in which it can say no.

``http.client`` and not ``urllib``: a redirect must not turn a POST into a GET that is then answered 200, and no proxy
of the environment may come between.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

_LATER: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500


class Refused(Exception):
    """It will never take this. Tell it nothing twice."""


class NotNow(Exception):
    """It may take this later. ``nobody_there``: it did not answer at all, so nothing else will get through either."""

    def __init__(self, what: str, *, nobody_there: bool) -> None:
        super().__init__(what)
        self.nobody_there = nobody_there


class Receiver:
    """``address``: ``http(s)://host[:port][/path]``. Raises ``ValueError`` for anything else."""

    def __init__(self, address: str, timeout_s: float) -> None:
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None or parts.fragment:
            raise ValueError("the address is not http(s)://host[:port][/path]")
        self._connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port = parts.hostname, parts.port
        self._path, self._query = parts.path, f"?{parts.query}" if parts.query else ""
        self._timeout_s = timeout_s

    def post(self, body: bytes, headers: Mapping[str, str], path: str = "") -> None:
        """To ``path`` below the address. Returns when it was taken (2xx). Raises ``Refused`` or ``NotNow``."""
        target = (self._path.rstrip("/") + path if path else self._path or "/") + self._query
        connection = self._connect(self._host, self._port, timeout=self._timeout_s)
        try:
            wanted = {"Content-Type": "application/json", "Connection": "close", **headers}
            connection.request("POST", target, body, wanted)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise NotNow(f"no answer ({type(error).__name__})", nobody_there=True) from None
        finally:
            connection.close()
        if status in _LATER or status >= _SERVER_ERROR:
            raise NotNow(f"status {status}", nobody_there=False)
        if not 200 <= status < 300:
            raise Refused(f"status {status}")
