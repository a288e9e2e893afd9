"""Runs a WSGI application, "module:name", at VCAP_APP_PORT: in gunicorn where that is installed, else in the server of
Python itself."""

import importlib
import os
import sys


def load(target):
    """Returns the application; a name that ends in () is one that makes it."""
    module, _, name = target.partition(":")
    found = getattr(importlib.import_module(module), name[:-2] if name.endswith("()") else name)
    return found() if name.endswith("()") else found


def main():
    target = sys.argv[1]
    sys.path.insert(0, os.getcwd())
    try:
        from gunicorn.app.wsgiapp import run
    except ImportError:
        run = None
    if run:
        sys.argv = ["gunicorn", "-c", "../gunicorn.config", target]
        sys.exit(run())

    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIServer, make_server

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    make_server("0.0.0.0", int(os.environ["VCAP_APP_PORT"]), load(target), Server).serve_forever()


main()
