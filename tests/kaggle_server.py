# ruff: noqa: N802 - the names are those of Kaggle's calls
"""Kaggle as its client sees it, on this machine alone: files with ranges, refusals on demand, and uploads."""

import fcntl
import json
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SO_SNDBUF, SOL_SOCKET

PORT = 7777  # where the client goes with KAGGLE_API_ENVIRONMENT=TEST
PIECE = 2**16


class Server(ThreadingHTTPServer):
    """Serves `files`; `refusals` are answers (status, headers) that calls of a name get before the right one."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self):
        self.files = {}
        self.modified = "Thu, 27 Jul 2017 00:00:00 GMT"
        self.sizes = {}  # that the list of files names, where they differ
        self.refusals = {}
        self.cuts = []  # after so many bytes of a file the connection breaks, once each
        self.bytes_a_second = None
        self.served = Counter()
        self.calls = []
        self.authorizations = set()
        self.uploads = []
        self.upload_status = 200
        self.may_upload = threading.Event()  # until it is set, an upload waits
        self.may_upload.set()
        self.forgets_submissions = False
        # The port is given, so that tests in other processes wait for their turn.
        self.turn = (Path(tempfile.gettempdir()) / f"port-{PORT}.lock").open("a")
        fcntl.flock(self.turn, fcntl.LOCK_EX)
        super().__init__(("127.0.0.1", PORT), Handler)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
        self.turn.close()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        name = self.path.rsplit("/", 1)[-1]
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        self.server.calls.append((name, body))
        self.server.authorizations.add(self.headers.get("Authorization"))
        waiting = self.server.refusals.get(name, [])
        if waiting:
            status, headers = waiting.pop(0)
            self.answer(status, {"code": status, "message": "no"}, headers)
        else:
            getattr(self, name)(body)

    def IntrospectToken(self, body):
        self.answer(200, {"active": body["token"] == "good", "username": "somebody"})

    def ListDataFiles(self, _):
        sizes = {name: len(data) for name, data in self.server.files.items()} | self.server.sizes
        self.answer(200, {"files": [{"name": name, "totalBytes": size} for name, size in sizes.items()]})

    def DownloadDataFile(self, body):
        self.send_response(302)
        self.send_header("Location", f"http://localhost:{PORT}/files/{body['fileName']}?signature=secret")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def StartSubmissionUpload(self, _):
        self.server.may_upload.wait()
        self.answer(
            200, {"token": "token of the upload", "createUrl": f"http://localhost:{PORT}/upload?signature=secret"}
        )

    def CreateSubmission(self, body):
        self.server.uploads[-1]["description"] = body["submissionDescription"]
        self.answer(200, {"message": "Successfully submitted", "ref": 41 + len(self.server.uploads)})

    def ListSubmissions(self, _):
        count = 0 if self.server.forgets_submissions else len(self.server.uploads)
        self.answer(200, {"submissions": [{"ref": 42 + number} for number in range(count)]})

    def GetSubmissionLimits(self, _):
        self.answer(200, {"numAllowedNow": 4})

    def do_PUT(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.uploads.append({"data": data})
        self.answer(self.server.upload_status, {})

    def do_GET(self):
        name = self.path.split("?")[0].rsplit("/", 1)[-1]
        data = self.server.files[name]
        first = 0
        tag = f'"{hash(data)}"'
        if (asked := self.headers.get("Range")) and self.headers.get("If-Range") == tag:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(data) - first))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", tag)
        self.send_header("Last-Modified", self.server.modified)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        # So that what is sent is what arrives, nearly.
        self.connection.setsockopt(SOL_SOCKET, SO_SNDBUF, PIECE)
        cut = self.server.cuts.pop(0) if self.server.cuts else None
        self.send(name, data[first:][:cut])
        if cut is not None:
            self.close_connection = True

    def send(self, name, data):
        try:
            for place in range(0, len(data), PIECE):
                piece = data[place : place + PIECE]
                self.wfile.write(piece)
                self.server.served[name] += len(piece)
                if self.server.bytes_a_second:
                    time.sleep(len(piece) / self.server.bytes_a_second)
        except ConnectionError:
            pass

    def answer(self, status, content, headers=None):
        body = json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", "Content-Length": len(body), **(headers or {})}.items():
            self.send_header(key, str(value))
        self.end_headers()
        self.wfile.write(body)
