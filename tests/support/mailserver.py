"""A small SMTP server on a real socket that remembers the mail it took, and answers or hangs as a test wants."""

from __future__ import annotations

import socketserver
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from email.policy import default

from tests.support.localserver import LocalServer


@dataclass(frozen=True)
class Taken:
    """One mail. ``to``: of the envelope."""

    sender: str
    to: list[str]
    letter: Message


class MailServer(LocalServer):
    """``answer`` gives the reply to each command (None: the usual one) and may wait; what was taken is in ``mail``.

    On any free port for 0.
    """

    def __init__(self, port: int = 0) -> None:
        self.mail: list[Taken] = []
        self.commands: list[str] = []
        self.answer: Callable[[str], str | None] = lambda _command: None
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self._say("220 a test")
                sender, to = "", list[str]()
                while line := self.rfile.readline():
                    command = line.decode().strip()
                    server.commands.append(command.split()[0].upper())
                    own = server.answer(command)
                    word = command.upper()
                    if own is not None:
                        self._say(own)
                    elif word.startswith("MAIL FROM:"):
                        sender, to = command[10:].split()[0].strip("<>"), []
                        self._say("250 ok")
                    elif word.startswith("RCPT TO:"):
                        to.append(command[8:].strip(" <>"))
                        self._say("250 ok")
                    elif word == "DATA":
                        self._say("354 go on")
                        body = b"".join(iter(self.rfile.readline, b".\r\n"))
                        server.mail.append(Taken(sender, to, message_from_bytes(body, policy=default)))
                        self._say("250 taken")
                    elif word == "QUIT":
                        self._say("221 bye")
                        return
                    else:
                        self._say("250 ok")

            def _say(self, line: str) -> None:
                self.wfile.write(line.encode() + b"\r\n")

        listening = socketserver.ThreadingTCPServer(("127.0.0.1", port), Handler)
        listening.daemon_threads = True
        super().__init__("smtp", listening)
