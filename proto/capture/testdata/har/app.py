"""The app behind the HAR files here: it answers by path, and writes what it got and what it sent to the file that is its argument."""
import gzip
import http.server
import json
import sys
import threading

ANSWERS = {
    "/page": (200, "text/html; charset=utf-8", b"<!doctype html><title>h</title>"),
    "/pb": (200, "application/x-protobuf", bytes.fromhex("0a0363616608ff01f0ffc0801200")),
    "/pbtext": (200, "application/x-protobuf", "\n\u0006caf\u00e9!".encode()),  # a message that reads as text
    "/octets": (200, "application/octet-stream", bytes(range(256))),
    "/json": (200, "application/json; charset=utf-8", '{"name":"日本 é"}'.encode()),
    "/sjis": (200, "text/plain; charset=Shift_JIS", "椅子と机".encode("shift_jis")),
    "/latin": (200, "text/plain; charset=iso-8859-1", "café".encode("latin-1")),
    "/missing": (404, "text/html", b"<html><title>404 Not Found</title></html>"),
    "/empty": (204, None, b""),
    "/moved": (302, None, b""),
    "/form": (200, "text/plain; charset=utf-8", "ありがとう".encode()),
    "/gzip": (200, "application/x-protobuf", bytes.fromhex("0a03636166") * 40),
}
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        got = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0]
        status, kind, body = ANSWERS.get(path, (404, None, b""))
        with lock, open(sys.argv[1], "a") as f:
            sent = b"" if self.command == "HEAD" else body
            f.write(json.dumps({"method": self.command, "path": self.path, "req": got.hex(), "status": status, "resp": sent.hex()}) + "\n")
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        if path == "/moved":
            self.send_header("Location", "/json?moved")
        if path == "/gzip":
            self.send_header("Content-Encoding", "gzip")
            body = gzip.compress(body)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "a=b; Path=/")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", 8001), Handler).serve_forever()
