"""A WSGI app, served by the standard library's own server."""

import json
import os
import signal
import socketserver
import threading
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer


def app(environ, start_response):
    known = json.loads(os.environ.get("VCAP_APPLICATION") or "{}")
    pages = {
        "/": "Hello from {}\ninstance index: {}\n".format(
            known.get("application_name", "python"),
            os.environ.get("CF_INSTANCE_INDEX", known.get("instance_index", "unknown")),
        ),
        "/health": "ok\n",
    }
    text = pages.get(environ["PATH_INFO"])
    status = "200 OK" if text else "404 Not Found"
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [(text or "not found\n").encode()]


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = False  # so that server_close waits for requests in flight

    def server_bind(self):
        # The inherited method looks up the host's name, which takes long where no name server answers.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]
        self.setup_environ()


class Handler(WSGIRequestHandler):
    def log_message(self, format, *args):
        print(format % args, flush=True)


def main():
    address = (os.environ.get("VCAP_APP_HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080")))
    with Server(address, Handler) as server:
        server.set_app(app)

        def end(signum, frame):
            # shutdown waits for the loop that this handler interrupts, so it needs a thread of its own
            threading.Thread(target=server.shutdown).start()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        print("listening on %s:%s" % address, flush=True)
        server.serve_forever(poll_interval=0.1)
    print("ended", flush=True)


if __name__ == "__main__":
    main()
