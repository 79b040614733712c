# ruff: noqa: N802 - the names are those of Kaggle's calls
"""Kaggle as its client sees it, on this machine alone: files with ranges, refusals on demand, and uploads."""

import fcntl
import io
import json
import re
import struct
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SO_LINGER, SO_SNDBUF, SOL_SOCKET

PORT = 7777  # where the client goes with KAGGLE_API_ENVIRONMENT=TEST
PIECE = 2**16


class Server(ThreadingHTTPServer):
    """Serves `files`, and does on a bad day what the attributes say.

    `refusals` are answers that calls of a name get before the right one: (status, headers), and a body if it is not
    to be JSON with the message "no"; the status 0 resets the connection, and None in place of the tuple is silence.
    Calls of the storage are named `files` and `upload`. `afterwards` take the right one's place after its effect.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self):
        self.files = {}
        self.sizes = {}  # that the list of files names, where they differ
        self.refusals = {}
        self.afterwards = {}
        self.over = threading.Event()
        self.cuts = []  # after so many bytes of a file the connection breaks, once each
        self.hangs = False  # whether nothing more comes where else the connection breaks
        self.offsets = []  # by which a requested range is missed, once each
        self.ranges = True  # whether a part can be requested
        self.tunnel_status = 407  # of a proxy for https
        self.create_url = f"http://localhost:{PORT}/upload?signature=secret"
        self.bytes_a_second = None
        self.piece = PIECE  # bytes that are sent at a time
        self.surplus = b""  # what follows a file, whose length is then not said
        self.served = Counter()
        self.calls = []
        self.authorization = None  # of the last call
        self.uploads = []
        self.left = {"numAllowedNow": 4}
        # The port is given, so that tests in other processes wait for their turn.
        self.turn = (Path(tempfile.gettempdir()) / f"port-{PORT}.lock").open("a")
        fcntl.flock(self.turn, fcntl.LOCK_EX)
        super().__init__(("127.0.0.1", PORT), Handler)

    def tag(self, name):
        return f'"{hash(self.files[name])}"'

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()
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
        self.server.authorization = self.headers.get("Authorization")
        if not self.spoiled(name, self.server.refusals):
            getattr(self, name)(body)

    def spoiled(self, name, answers):
        """Whether the call gets one of the answers in place of the right one."""
        if not answers.get(name):
            return False
        status, headers, *body = answers[name].pop(0) or (None, None)
        if status is None:
            self.server.over.wait(60)
        elif status:
            self.answer(status, *(body or [{"code": status, "message": "no"}]), headers)
        else:
            # With unread data or this option, closing resets the connection.
            self.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            self.wfile = io.BytesIO()
        return True

    def GenerateAccessToken(self, body):
        self.answer(200, {"token": "good" if body["refreshToken"] == "more" else "bad", "expiresIn": 3600})

    def ListDataFiles(self, _):
        sizes = {name: len(data) for name, data in self.server.files.items()} | self.server.sizes
        self.answer(200, {"files": [{"name": name, "totalBytes": size} for name, size in sizes.items()]})

    def DownloadDataFile(self, body):
        self.answer(302, b"", {"Location": f"http://localhost:{PORT}/files/{body['fileName']}?signature=secret"})

    def StartSubmissionUpload(self, _):
        self.answer(200, {"token": "token of the upload", "createUrl": self.server.create_url})

    def CreateSubmission(self, body):
        self.server.uploads[-1]["description"] = body["submissionDescription"]
        if not self.spoiled("CreateSubmission", self.server.afterwards):
            self.answer(200, {"message": "Successfully submitted", "ref": 41 + len(self.server.uploads)})

    def GetSubmissionLimits(self, _):
        self.answer(200, self.server.left)

    def do_CONNECT(self):
        self.answer(self.server.tunnel_status, b"")

    def do_PUT(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.spoiled("upload", self.server.refusals):
            self.server.uploads.append({"data": data})
            self.answer(200, {})

    def do_GET(self):
        if self.spoiled("files", self.server.refusals):
            return
        name = self.path.split("?")[0].rsplit("/", 1)[-1]
        data = self.server.files[name]
        asked = self.headers.get("Range") if self.server.ranges else None
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "bytes=0-").groups()
        first, last = int(first), int(last or len(data) - 1)
        if asked and last > first and self.server.offsets:
            first += self.server.offsets.pop(0)
        surplus = self.server.surplus if last > first else b""
        length = {} if surplus else {"Content-Length": last + 1 - first}
        headers = length | {"ETag": self.server.tag(name)}
        place = {"Content-Range": f"bytes {first}-{last}/{len(data)}"} if asked else {}
        self.begin(206 if asked else 200, headers | place)
        # So that what is sent is what arrives, nearly.
        self.connection.setsockopt(SOL_SOCKET, SO_SNDBUF, PIECE)
        cut = self.server.cuts.pop(0) if self.server.cuts and last > first else None
        self.send(name, data[first : last + 1][:cut] + surplus)
        if cut and self.server.hangs:
            self.server.over.wait(60)
        self.close_connection = cut is not None

    def send(self, name, data):
        try:
            for place in range(0, len(data), self.server.piece):
                piece = data[place : place + self.server.piece]
                self.wfile.write(piece)
                self.server.served[name] += len(piece)
                if self.server.bytes_a_second:
                    time.sleep(len(piece) / self.server.bytes_a_second)
        except ConnectionError:
            pass

    def answer(self, status, content, headers=None):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.begin(status, {"Content-Type": "application/json", "Content-Length": len(body)} | (headers or {}))
        self.wfile.write(body)

    def begin(self, status, headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, str(value))
        self.end_headers()
