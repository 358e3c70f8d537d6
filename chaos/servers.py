"""Servers of the campaign's own, which it may stop and kill: databases and brokers.

They listen on free ports of 127.0.0.1, and their data is in a temporary folder, where it outlives
a restart. A server's processes are killed, the machine is not: so what they have written is there
whether or not it has reached the disk, and nothing waits for that. What a server keeps to itself
for a while after a commit would be lost: none of them is set up to do that.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from chaos.hosts import PATIENCE, Server, find, free_port
from tests.databases import Database

#: The database on a server, and where there has to be one, the account that it belongs to.
NAME = "flowcontrol"
Kind = TypeVar("Kind", bound=Server)


class PostgreSQL(Server):
    programs = ("initdb", "postgres", "pg_isready")
    package = "psycopg"
    account = "postgres"
    scheme = "postgresql"
    goodbye = signal.SIGINT  # Does not wait for the clients.

    def access(self) -> dict[str, str]:
        """Return the environment in which the tests' settings mean this server."""
        return access("POSTGRESQL", self.port, "postgres")

    def prepare(self) -> None:
        self.run(
            *("initdb", "--pgdata=data", "--username=postgres", "--auth=trust", "--no-sync"),
            *("--encoding=UTF8", "--locale=C"),
        )
        self.run("postgres", "--single", "-D", "data", "postgres", stdin=f"CREATE DATABASE {NAME}")

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "200",
        }
        chosen = [f"--{name}={value}" for name, value in settings.items()]
        return ["postgres", "-D", "data", "-p", str(self.port), *chosen]

    def answers(self) -> bool:
        """Return whether clients are let in: it listens while it recovers, too."""
        command = [str(find("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def environment(self) -> dict[str, str]:
        # What is meant for the clients is taken for its own by ``initdb``.
        return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


class MariaDB(Server):
    programs = ("mariadb-install-db", "mariadbd", "mariadb")
    package = "MySQLdb"
    account = "mysql"
    scheme = "mysql"

    def access(self) -> dict[str, str]:
        """Return the environment in which the tests' settings mean this server."""
        return access("MARIADB", self.port, NAME)

    def prepare(self) -> None:
        # An account like a site's: not one to which a server that is read-only listens.
        (self.folder / "setup.sql").write_text(
            f"CREATE DATABASE IF NOT EXISTS {NAME} CHARACTER SET utf8mb4;\n"
            f"CREATE USER IF NOT EXISTS {NAME}@'127.0.0.1';\n"
            f"GRANT ALL PRIVILEGES ON `%{NAME}%`.* TO {NAME}@'127.0.0.1';\n"
        )
        self.run(
            *("mariadb-install-db", "--no-defaults", f"--datadir={self.folder}/data"),
            *("--auth-root-authentication-method=normal", "--skip-test-db"),
        )

    def execute(self, statement: str) -> None:
        """Do something as the account that may do everything."""
        where = ("--protocol=tcp", "--host=127.0.0.1", f"--port={self.port}", "--user=root")
        self.run("mariadb", "--no-defaults", *where, f"--execute={statement}")

    def command(self) -> list[str]:
        return [
            *("mariadbd", "--no-defaults", f"--datadir={self.folder}/data", f"--port={self.port}"),
            *("--bind-address=127.0.0.1", f"--socket={self.folder}/socket", "--skip-name-resolve"),
            *(f"--pid-file={self.folder}/pid", f"--init-file={self.folder}/setup.sql"),
            # With each commit to the system, with none to the disk.
            *("--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=64M"),
            # Those who only look whether it answers would be shut out.
            *("--max-connect-errors=1000000", "--max-connections=200"),
        ]


class Redis(Server):
    """It keeps nothing: when it comes back, all messages are gone."""

    programs = ("redis-server",)
    package = "redis"
    scheme = "redis"
    greeting = b"PING\r\n"

    def command(self) -> list[str]:
        return [
            *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no"),
        ]


class RabbitMQ(Server):
    """It keeps its queues and the messages in them."""

    programs = ("rabbitmq-server", "epmd")
    package = "amqp"
    account = "rabbitmq"
    scheme = "amqp"
    greeting = b"AMQP\x00\x00\x09\x01"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.names_port, self.nodes_port = free_port(), free_port()
        self.names: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        return ["rabbitmq-server"]

    def start(self) -> None:
        if self.names is None:
            # Started here, it is not left behind as the one that the server would start.
            self.names = self._launch(["epmd"])
        super().start()

    def close(self) -> None:
        super().close()
        if self.names is not None:
            self.names.kill()
            self.names.wait(PATIENCE)

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "HOME": str(self.folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.names_port),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "no_config"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "no_environment"),
            "RABBITMQ_DIST_PORT": str(self.nodes_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "no_plugins"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_NODENAME": "chaos@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
        }


#: Those that the campaign's databases are on.
DATABASES: dict[Database, type[PostgreSQL | MariaDB]] = {
    Database.POSTGRESQL: PostgreSQL,
    Database.MARIADB: MariaDB,
}


class Servers:
    """The servers of a campaign: each is made when it is first wanted, and all end with it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True)
        # The servers run as accounts of their own.
        Path(self._folder.name).chmod(0o711)
        self._starters = ThreadPoolExecutor()
        self._starting: dict[type[Server], Future[Server]] = {}
        self._made: list[Server] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Once more for a server that was about to start.
        for _again in range(2):
            for server in list(self._made):
                server.close()
            self._starters.shutdown(cancel_futures=True)
        self._folder.cleanup()

    def expect(self, *kinds: type[Server]) -> None:
        """Begin to start servers, those that there can be: ``get`` waits for them."""
        for kind in kinds:
            if kind not in self._starting and not kind.why_not():
                self._starting[kind] = self._starters.submit(self._start, kind)

    def get(self, kind: type[Kind]) -> Kind:
        """Return a server that runs; raises RuntimeError where there can be none."""
        self.expect(kind)
        if kind not in self._starting:
            raise RuntimeError(kind.why_not())
        server = self._starting[kind].result()
        assert isinstance(server, kind)
        return server

    def running(self, kind: type[Kind]) -> Kind | None:
        """Return a server that was wanted before; None if it was not."""
        return self.get(kind) if kind in self._starting else None

    def _start(self, kind: type[Server]) -> Server:
        folder = Path(self._folder.name) / kind.__name__.lower()
        folder.mkdir(mode=0o700)
        if kind.account and os.getuid() == 0:
            shutil.chown(folder, kind.account)
        server = kind(folder)
        self._made.append(server)
        server.prepare()
        server.start()
        return server


def access(server: str, port: int, user: str) -> dict[str, str]:
    values = {"HOST": "127.0.0.1", "PORT": str(port), "USER": user, "PASSWORD": ""}
    return {f"FLOWCONTROL_{server}_{name}": value for name, value in values.items()}
