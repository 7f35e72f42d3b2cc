"""Sends what is captured here, over loopback, and writes down what went: send.py KIND PORT TRUTH. The bytes of HTTP are written by hand."""
import gzip
import json
import os
import socket
import sys
import threading
import time
import zlib

kind, port, truth = sys.argv[1], int(sys.argv[2]), open(sys.argv[3], "w")
here = os.path.dirname(os.path.abspath(__file__))


def note(**what):
    truth.write(json.dumps(what) + "\n")


def talk(*steps):
    """One connection: steps are (who, bytes), who is C or S. Each step waits until the other end has all of it."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    ends = {"C": socket.create_connection(("127.0.0.1", port))}
    ends["S"], _ = listener.accept()
    for who, data in steps:
        ends[who].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ends[who].sendall(data)
        other, left = ends["S" if who == "C" else "C"], len(data)
        while left:
            left -= len(other.recv(left))
    for end in ends.values():
        end.close()
    listener.close()


def chunks(data, n):
    parts = [data[i:i + n] for i in range(0, len(data), n)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"


def head(first, *fields):
    return "\r\n".join((first,) + fields).encode() + b"\r\n\r\n"


def length(data):
    return "Content-Length: %d" % len(data)


def shapes():
    text = b"what is in the body " * 20
    packed = gzip.compress(text, mtime=0)
    # RFC 9112, 6.1: transfer codings, the last of them chunked; in a request, too, and over a content coding.
    for path, coding, content, body in [
        ("/te", "gzip, chunked", None, chunks(packed, 30)),
        ("/te-case", "GZip , Chunked", None, chunks(packed, 1000)),
        ("/te-deflate", "deflate, chunked", None, chunks(zlib.compress(text), 17)),
        ("/te-ce", "gzip, chunked", "gzip", chunks(gzip.compress(packed, mtime=0), 40)),
    ]:
        fields = ["Transfer-Encoding: " + coding] + (["Content-Encoding: " + content] if content else [])
        talk(("C", head("POST %s HTTP/1.1" % path, "Host: a", *fields) + body), ("S", head("HTTP/1.1 200 OK", *fields) + body))
        note(method="POST", path=path, req=text.hex(), status=200, resp=text.hex())
    # Content codings, with zlib around deflate and without.
    bare = zlib.compressobj(wbits=-15)
    bare = bare.compress(text) + bare.flush()
    for path, coding, body in [("/gzip", "gzip", packed), ("/x-gzip", "x-gzip", packed), ("/zlib", "deflate", zlib.compress(text)), ("/bare", "deflate", bare),
                               ("/two", "deflate, gzip", gzip.compress(zlib.compress(text), mtime=0))]:
        talk(("C", head("GET %s HTTP/1.1" % path, "Host: a")), ("S", head("HTTP/1.1 200 OK", "Content-Encoding: " + coding, length(body)) + body))
        note(method="GET", path=path, req="", status=200, resp=text.hex())
    # An answer that ends before its request does (RFC 9112, 9.3).
    talk(("C", head("POST /early HTTP/1.1", "Host: a", "Content-Length: 10") + b"01234"), ("S", head("HTTP/1.1 413 Too Large", "Content-Length: 2") + b"no"), ("C", b"56789"),
         ("C", head("GET /after HTTP/1.1", "Host: a")), ("S", head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"))
    note(method="POST", path="/early", req=b"0123456789".hex(), status=413, resp=b"no".hex())
    note(method="GET", path="/after", req="", status=200, resp=b"ok".hex())
    # What proxies get: the absolute form (RFC 9112, 3.2.2).
    talk(("C", head("GET http://shop.example/items?page=2 HTTP/1.1", "Host: shop.example")), ("S", head("HTTP/1.1 200 OK", "Content-Length: 1") + b"x"))
    note(method="GET", path="http://shop.example/items?page=2", req="", status=200, resp=b"x".hex())


def learn():
    sys.path.insert(0, os.environ["GENERATED"])
    from google.protobuf.timestamp_pb2 import Timestamp
    from shop import api_pb2 as api, things_pb2 as shop
    kinds = {}

    def call(user, method, path, template, req, resp, status=200, parameter=False):
        out, back = req.SerializeToString() if req is not None else b"", resp.SerializeToString()
        fields = ["Host: shop", "Content-Type: application/x-protobuf", length(out)] if req is not None else ["Host: shop"]
        answer = "Content-Type: application/x-protobuf" + ("; proto=" + resp.DESCRIPTOR.full_name if parameter else "")
        talk(("C", head("%s %s HTTP/1.1" % (method, path), *fields) + out), ("S", head("HTTP/1.1 %d X" % status, answer, length(back)) + back))
        full = lambda m: m.DESCRIPTOR.full_name if m is not None else ""
        note(method=method, path=path, req=out.hex(), status=status, resp=back.hex(), req_type=full(req), resp_type=full(resp))
        if status < 400:
            kinds[method, template] = full(req) or "-", full(resp)

    for n in range(1, 6):
        at = Timestamp(seconds=1796000000 + n, nanos=n * 1000)
        item = shop.Item(id=n, name="椅子 %d" % n, price=100 * n, tags=["oak", "arm"][:n % 3], added_at=at)
        order = shop.Order(id=70 + n, item_id=n, buyer="isu-%d" % n, at=at, state=n % 3)
        review = shop.Review(id=500 + n, item_id=n, text="good", stars=n % 5)
        call(n, "POST", "/api/login", "/api/login", api.LoginRequest(name="isu-%d" % n, password="s%d" % n), api.LoginResponse(user_id=n, token="t%d" % n))
        call(n, "GET", "/api/items?page=%d" % n, "/api/items", None, api.ListItemsResponse(items=[item, item], total=90 + n))
        call(n, "GET", "/api/items/%d" % n, "/api/items/{id}", None, api.GetItemResponse(item=item))
        call(n, "POST", "/api/items", "/api/items", api.CreateItemRequest(name="new", price=n, tags=["a"]), api.CreateItemResponse(item=item))
        call(n, "GET", "/api/items/%d/reviews" % n, "/api/items/{id}/reviews", None, api.ListReviewsResponse(reviews=[review] * n))
        call(n, "POST", "/api/items/%d/reviews" % n, "/api/items/{id}/reviews", api.CreateReviewRequest(text="fine", stars=n), api.CreateReviewResponse(review=review))
        call(n, "GET", "/users/isu-%d/orders" % n, "/users/{slug}/orders", None, api.ListOrdersResponse(orders=[order]))
        call(n, "GET", "/api/orders/%d" % (70 + n), "/api/orders/{id}", None, api.GetOrderResponse(order=order))
        call(n, "POST", "/api/orders", "/api/orders", api.PlaceOrderRequest(item_id=n, address="Tokyo"), api.PlaceOrderResponse(order=order, arrives_at=at))
        call(n, "POST", "/internal/stats:sum", "/internal/stats:sum", api.StatsRequest(since=at), api.StatsReply(count=n, sum=5 * n))
        call(n, "POST", "/shop.api.Stats/Watch", "/shop.api.Stats/Watch", api.StatsRequest(since=at), api.StatsReply(count=n, sum=n))
        call(n, "GET", "/api/items/%d" % (900 + n), "/api/items/{id}", None, shop.Error(code=404, message="no item"), 404, True)
    with open(os.path.join(here, "learn.routes"), "w") as f:
        for (method, template), (req, resp) in sorted(kinds.items()):
            f.write("\t".join((method, template, req, resp)) + "\n")


def odd():
    """Messages without a form in JSON, of the corpus of proto/decode, between others, and octets on a route that has a type."""
    corpus = os.path.join(here, "../../../decode/testdata/corpus/")
    for name in ["typed-plain", "year-10000", "long", "empty-value", "nan-value", "mask", "any-unknown", "deep", "typed-any"]:
        body = open(corpus + name + ".bin", "rb").read()
        talk(("C", head("GET /types/%s HTTP/1.1" % name, "Host: a")), ("S", head("HTTP/1.1 200 OK", "Content-Type: application/protobuf; proto=types.Types", length(body)) + body))
        note(method="GET", path="/types/" + name, req="", status=200, resp=body.hex(), resp_type="types.Types")
    body = open(corpus + "typed-lists.bin", "rb").read()
    talk(("C", head("POST /octets HTTP/1.1", "Host: a", "Content-Type: application/octet-stream", length(body)) + body), ("S", head("HTTP/1.1 200 OK", "Content-Type: application/octet-stream", length(body)) + body))
    note(method="POST", path="/octets", req=body.hex(), status=200, resp=body.hex(), req_type="types.Types", resp_type="types.Types")


{"shapes": shapes, "learn": learn, "odd": odd}[kind]()
truth.close()
time.sleep(1)
