"""A TCP proxy between workers and their database server that spoils some of the commits."""

from __future__ import annotations

import asyncio
import random
import re
import sys
from asyncio import StreamReader, StreamWriter
from dataclasses import dataclass, field

LISTENING = "listening on "
#: What is said for each commit that was spoiled.
SPOILED = "spoiled"
_CHUNK = 65_536
#: A statement of its own, not MariaDB's "SET AUTOCOMMIT".
_COMMIT = re.compile(rb"(?<!AUTO)COMMIT", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """How probable each accident is, at a commit.

    ``deaf``: the commit lands and its answer is lost. ``cut``: the connection is gone before.
    ``half_open``: nothing comes through any more in either direction, for ``silence`` seconds,
    after which the connection is closed as TCP's own probes would do.
    """

    deaf: float = 0
    cut: float = 0
    half_open: float = 0
    silence: float = 1.5


@dataclass(slots=True, kw_only=True)
class Proxy:
    """Connects each client with the server, until a commit is spoiled."""

    host: str
    port: int
    chances: Chances
    listen: int = 0

    async def serve(self) -> None:
        """Listen on a port, by default a free one, and say on which."""
        server = await asyncio.start_server(self.connect, "127.0.0.1", self.listen)
        say(f"{LISTENING}{server.sockets[0].getsockname()[1]}.")
        async with server:
            await server.serve_forever()

    async def connect(self, reader: StreamReader, writer: StreamWriter) -> None:
        upstream = await asyncio.open_connection(self.host, self.port)
        await Link(self.chances, (reader, writer), upstream).run()


@dataclass(slots=True)
class Link:
    """One client and its connection to the server."""

    chances: Chances
    client: tuple[StreamReader, StreamWriter]
    server: tuple[StreamReader, StreamWriter]
    deaf: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def run(self) -> None:
        """Copy both ways until either side hangs up, or an accident happens."""
        self.tasks = [asyncio.create_task(self.ask()), asyncio.create_task(self.answer())]
        await asyncio.wait(self.tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in self.tasks:
            task.cancel()
        for _, writer in (self.client, self.server):
            writer.close()

    async def ask(self) -> None:
        while chunk := await self.client[0].read(_CHUNK):
            if _COMMIT.search(chunk) and not await self.spoil():
                return
            self.server[1].write(chunk)
            await self.server[1].drain()

    async def answer(self) -> None:
        while chunk := await self.server[0].read(_CHUNK):
            if self.deaf:
                return
            self.client[1].write(chunk)
            await self.client[1].drain()

    async def spoil(self) -> bool:
        """Maybe have an accident; say whether the commit reaches the server."""
        throw, chances = random.random(), self.chances
        if throw < chances.deaf:
            self.deaf = True
            say(SPOILED)
            return True
        if throw < chances.deaf + chances.cut:
            say(SPOILED)
            return False
        if throw < chances.deaf + chances.cut + chances.half_open:
            say(SPOILED)
            await asyncio.sleep(chances.silence)
            return False
        return True


def serve(host: str, port: int, chances: Chances, listen: int = 0) -> None:
    """Be the proxy of a server, until killed."""
    asyncio.run(Proxy(host=host, port=port, chances=chances, listen=listen).serve())


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
