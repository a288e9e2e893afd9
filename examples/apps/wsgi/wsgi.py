"""A WSGI app, for any server that takes one."""

import json
import os


def application(environ, start_response):
    known = json.loads(os.environ.get("VCAP_APPLICATION") or "{}")
    pages = {
        "/": "Hello from {}\ninstance index: {}\n".format(
            known.get("application_name", "wsgi"),
            os.environ.get("CF_INSTANCE_INDEX", known.get("instance_index", "unknown")),
        ),
        "/health": "ok\n",
    }
    text = pages.get(environ["PATH_INFO"])
    status = "200 OK" if text else "404 Not Found"
    print(environ["REQUEST_METHOD"], environ["PATH_INFO"], status[:3])
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [(text or "not found\n").encode()]
