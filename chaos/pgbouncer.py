"""pgbouncer in front of the campaign's PostgreSQL, configured as the documentation says."""

from __future__ import annotations

import os
import re
from pathlib import Path

from chaos.hosts import Server
from tests.databases import ROOT, Database, database_settings

PAGE = ROOT / "docs" / "how-to" / "connections-and-pools.md"


class PgBouncer(Server):
    """It keeps nothing; who was connected has to connect again."""

    programs = ("pgbouncer",)
    package = "psycopg"
    account = "postgres"
    scheme = "postgresql"
    #: The question whether it speaks TLS.
    greeting = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
    #: How many sessions of the server all clients share.
    size = 4

    def prepare(self) -> None:
        server = database_settings(Database.POSTGRESQL)
        (documented,) = re.findall(r"```ini\n\[pgbouncer\]\n(.*?)```", PAGE.read_text(), re.DOTALL)
        documented = re.sub(
            r"(?m)^default_pool_size = .*$", f"default_pool_size = {self.size}", documented
        )
        self._write(
            "pgbouncer.ini",
            f"[databases]\n* = host={server['HOST']} port={server['PORT']}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
            f"unix_socket_dir =\nauth_type = trust\nauth_file = {self.folder}/users\n{documented}",
        )
        self._write("users", f'"{server["USER"]}" "{server["PASSWORD"]}"\n')

    def command(self) -> list[str]:
        return ["pgbouncer", f"{self.folder}/pgbouncer.ini"]

    def environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith("PG")}

    def _write(self, name: str, text: str) -> None:
        path = Path(self.folder / name)
        path.write_text(text)
        path.chmod(0o644)
