"""Serves the files below one directory over HTTP: without hidden files, without lists of names."""

import http.server
import os
import signal
import socketserver
import sys
import threading
import urllib.parse


class Handler(http.server.SimpleHTTPRequestHandler):
    timeout = 30  # seconds without a byte from the client

    def send_head(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if "/." in path or path in ("/Staticfile", "/Procfile"):
            self.send_error(404)
            return None
        return super().send_head()

    def list_directory(self, path):
        self.send_error(404)
        return None

    def log_message(self, format, *args):
        print((format % args).encode("ascii", "backslashreplace").decode(), flush=True)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # so that server_close waits for requests in flight

    def server_bind(self):
        # The inherited method looks up the host's name, which takes long where no name server answers.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: server.py DIRECTORY")
    # The name is made absolute once: Handler resolves it at each request.
    root = os.path.abspath(sys.argv[1])
    address = (os.environ.get("VCAP_APP_HOST") or "0.0.0.0", int(os.environ.get("PORT") or "8080"))

    with Server(address, lambda *args: Handler(*args, directory=root)) as server:

        def end(signum, frame):
            # shutdown waits for the loop that this handler interrupts, so it needs a thread of its own
            threading.Thread(target=server.shutdown).start()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        print("serving %s on %s:%s" % (sys.argv[1], *address), flush=True)
        server.serve_forever(poll_interval=0.1)
    print("ended", flush=True)


if __name__ == "__main__":
    main()
