"""Serve the standard library's reference, as `pydoc` renders it, on a free port of the loopback.

Prints the address of the index page once all pages are rendered, and ends with its standard input.
crawl.py runs it in a process of its own.
"""

import importlib
import pydoc
import sys
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import ModuleType

# Modules with much to read, from 500 kB (ast, builtins) down to a few.
MODULES = """
    abc argparse array ast asyncio asyncio.events asyncio.queues asyncio.streams asyncio.tasks
    base64 bisect builtins calendar codecs collections collections.abc concurrent.futures
    configparser contextlib contextvars copy csv ctypes dataclasses datetime decimal difflib dis
    email email.message email.policy enum fractions ftplib functools gzip hashlib heapq html http
    http.client http.server importlib importlib.abc inspect io ipaddress itertools json logging
    math mimetypes operator os pathlib pickle platform pprint queue random re sched selectors
    shelve shutil signal smtplib socket socketserver sqlite3 ssl stat statistics string struct
    subprocess sys tarfile tempfile textwrap threading time tokenize traceback types typing
    unittest unittest.mock urllib.parse urllib.request uuid weakref xml.etree.ElementTree zipfile
"""


def modules() -> Iterator[tuple[str, ModuleType]]:
    """The modules above, without those that this Python was built without."""
    for name in MODULES.split():
        try:
            yield name, importlib.import_module(name)
        except ImportError as error:
            print(f"docserver: {name}: {error}", file=sys.stderr)


def render() -> dict[str, bytes]:
    """Every page by its path."""
    pages = {
        f"/{name}.html": pydoc.html.page(name, pydoc.html.document(module, name))
        for name, module in modules()
    }
    contents = "".join(f'<li><a href="{path[1:]}">{path[1:-5]}</a></li>' for path in pages)
    pages["/"] = pydoc.html.page("Index of modules", f"<ul>{contents}</ul>")
    return {path: page.encode("utf-8", "xmlcharrefreplace") for path, page in pages.items()}


class Handler(BaseHTTPRequestHandler):
    """Answers GET from the rendered pages."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    pages: dict[str, bytes]

    def do_GET(self) -> None:
        body = self.pages.get(self.path)
        self.send_response(HTTPStatus.NOT_FOUND if body is None else HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *args: object) -> None:
        """No log: the crawl's table is the output."""


def main() -> None:
    Handler.pages = render()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
