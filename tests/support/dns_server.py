"""A DNS server for tests, UDP and TCP on port 53 of one address: `dns_server.py ADDRESS`.

Names that begin with "missing" do not exist, those with "big" are cut off by UDP, all others are 192.0.2.7. Each query is
printed as "udp NAME" or "tcp NAME".
"""
import socket
import struct
import sys
import threading

SOA = b"\xc0\x0c" + struct.pack(">HHIH", 6, 1, 60, 22) + b"\0\0" + struct.pack(">IIIII", 1, 60, 60, 60, 60)


def answer(query, transport):
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    end, name = at + 5, ".".join(labels).lower()
    print(transport, name, flush=True)
    kind = struct.unpack(">H", query[at + 1:at + 3])[0]
    flags, answers, authority = 0x8180, b"", b""
    if name.startswith("missing"):
        flags, authority = 0x8183, SOA
    elif name.startswith("big") and transport == "udp":
        flags |= 0x0200
    elif kind == 1:
        answers = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 300, 4) + socket.inet_aton("192.0.2.7")
    else:
        authority = SOA
    counts = struct.pack(">HHHHH", flags, 1, bool(answers), bool(authority), 0)
    return query[:2] + counts + query[12:end] + answers + authority


def serve_stream(server):
    while True:
        connection, _ = server.accept()
        with connection:
            head = connection.recv(2, socket.MSG_WAITALL)
            query = connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL) if len(head) == 2 else b""
            if query:
                reply = answer(query, "tcp")
                connection.sendall(len(reply).to_bytes(2, "big") + reply)


def main(address):
    threading.Thread(target=serve_stream, args=(socket.create_server((address, 53)),), daemon=True).start()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))
    print("ready", flush=True)
    while True:
        query, peer = server.recvfrom(4096)
        server.sendto(answer(query, "udp"), peer)


if __name__ == "__main__":
    main(sys.argv[1])
