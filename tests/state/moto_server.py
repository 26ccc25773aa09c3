"""moto as a store: `python -m tests.state.moto_server PORT`. One request at a time.

`moto.server` serves requests on threads and checks a condition before it writes, in two steps. So of two writers at
once both may succeed, which no store that qualifies does.
"""

from __future__ import annotations

import io
import sys
import threading
from typing import TYPE_CHECKING, Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class OneAtATime:
    """The application, behind a lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._app = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request, whose body is read before the lock is taken: its client may be suspended."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        with self._lock:
            return list(self._app(environ, start_response))


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), OneAtATime(), threaded=True)
