"""The site on this machine: the web server in this process, a worker in another one."""

from __future__ import annotations

import errno
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from django.contrib.auth.models import Permission, User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.servers.basehttp import get_internal_wsgi_application, run
from django.utils import timezone

from story import UNFINISHED, play
from world import build, load_flows, open_world

HOST = "127.0.0.1"
#: How long the story lasts; it ends now.
STORY = timedelta(hours=26)
_SECONDS_TO_STOP = 10.0
_STAFF_MAY = ("view_flow", "view_flowrun", "view_flowversion", "view_flowtrigger", "start_flow")


def serve(folder: Path, port: int) -> int:
    """Create the site anew and serve it until Ctrl-C; return the exit status."""
    # Terminating this process ends the worker too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _try_port(port)
        _create_site(folder)
        with _worker():
            _serve_pages(folder, port)
    except KeyboardInterrupt:
        print("\nThe site and its worker have stopped.")
    except OSError as error:
        return _explain(error, port)
    return 0


def _try_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))


def _create_site(folder: Path) -> None:
    print("Creating the site, with some customers and their flow runs ...", flush=True)
    build(folder)
    _add_staff()
    with open_world(timezone.now() - STORY, _print_nothing) as world:
        load_flows()
        play(world, UNFINISHED)


def _serve_pages(folder: Path, port: int) -> None:
    handler = StaticFilesHandler(get_internal_wsgi_application())

    def welcome(_port: object) -> None:
        print(_welcome(folder, port), flush=True)

    run(HOST, port, handler, threading=True, on_bind=welcome)


@contextmanager
def _worker() -> Iterator[None]:
    """Run a worker for the length of a ``with`` block; it executes what is due, once a second."""
    command = [sys.executable, str(Path(__file__).with_name("manage.py")), "flowcontrol", "worker"]
    worker = subprocess.Popen(command)
    wanted = threading.Event()
    wanted.set()
    threading.Thread(target=_watch, args=[worker, wanted], daemon=True).start()
    try:
        yield
    finally:
        wanted.clear()
        # Ctrl-C in a terminal has reached it already.
        worker.terminate()
        try:
            worker.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            worker.kill()


def _watch(worker: subprocess.Popen[bytes], wanted: threading.Event) -> None:
    """Print a message if the worker dies."""
    status = worker.wait()
    if status and wanted.is_set():
        print(f"The worker has died (status {status}): no flow continues. Restart the site.")


def _add_staff() -> None:
    """Add a member of staff who may view flows and start them, but not change them."""
    staff = User.objects.create_user("staff", "staff@paper-and-ink.example", "staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__in=_STAFF_MAY))


def _welcome(folder: Path, port: int) -> str:
    return f"""
  The admin   http://{HOST}:{port}/admin/    log in as admin / admin, or as staff / staff
  The shop    http://{HOST}:{port}/          log in as ada / ada likes books, or sign up
  E-mails     {folder / "mail"}

  A worker executes what is due. One run of "Ship order" has failed: retry it in the admin.
  Ctrl-C stops the site and the worker.
"""


def _print_nothing(_line: str) -> None:
    return None


def _explain(error: OSError, port: int) -> int:
    if error.errno not in (errno.EADDRINUSE, errno.EACCES):
        raise error
    why = "is in use" if error.errno == errno.EADDRINUSE else "needs more permissions"
    print(f"Port {port} {why}: choose another with make site ARGS='--port {port + 1}'.")
    return 1
