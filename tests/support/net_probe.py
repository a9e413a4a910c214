"""The two ends of a test connection, run inside a namespace as any user.

  net_probe.py listen [--uid N] [--transparent] [--udp] ADDRESS:PORT …
      prints "ready", then tells every connection (datagram) what it reached, as one line of JSON:
      {"port": listener's port, "original": "where it was going", "local": …, "peer": …}
  net_probe.py dial [--uid N] [--from ADDRESS] [--udp] ADDRESS PORT
      prints that line; or {"error": "refused" | "unreachable" | "timeout"}
  net_probe.py dial-all -
      reads a JSON list of {"uid": N, "address": A, "port": P, "source": A, "udp": true} and prints that of the answers

Addresses are numeric; IPv6 in brackets for `listen`.
"""
import argparse
import errno
import json
import os
import selectors
import socket
import struct
import sys

SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h; IP6T_SO_ORIGINAL_DST has the same number
IPV6_TRANSPARENT = 75
IP_TRANSPARENT = 19


def drop_to(uid):
    if uid and os.geteuid() != uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def original_destination(connection):
    """Where the client wanted to go, "" when the kernel does not know of a redirection."""
    try:
        if connection.family == socket.AF_INET6:
            raw = connection.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
            return f"[{socket.inet_ntop(socket.AF_INET6, raw[8:24])}]:{struct.unpack('!H', raw[2:4])[0]}"
        raw = connection.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        return f"{socket.inet_ntop(socket.AF_INET, raw[4:8])}:{struct.unpack('!H', raw[2:4])[0]}"
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return ""


def text_of(name):
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


def open_listener(text, options):
    address, _, port = text.rpartition(":")
    address = address.strip("[]")
    listener = socket.socket(family_of(address), socket.SOCK_DGRAM if options.udp else socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if options.transparent:
            listener.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    elif options.transparent:
        listener.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
    listener.bind((address, int(port)))
    if not options.udp:
        listener.listen(64)
    return listener


def answer(listener):
    port = listener.getsockname()[1]
    if listener.type == socket.SOCK_DGRAM:
        _, peer = listener.recvfrom(2048)
        listener.sendto(json.dumps({"port": port, "peer": text_of(peer)}).encode(), peer)
        return
    connection, peer = listener.accept()
    with connection:
        said = {"port": port, "original": original_destination(connection),
                "local": text_of(connection.getsockname()), "peer": text_of(peer)}
        connection.sendall(json.dumps(said).encode() + b"\n")


def listen(options):
    needs_root = options.transparent or any(int(text.rpartition(":")[2]) < 1024 for text in options.words)
    if not needs_root:
        drop_to(options.uid)  # the kernel notes who opens a socket
    listeners = [open_listener(text, options) for text in options.words]
    drop_to(options.uid)
    selector = selectors.DefaultSelector()
    for listener in listeners:
        selector.register(listener, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            answer(key.fileobj)


def dial(options):
    drop_to(options.uid)
    address, port = options.words
    kind = socket.SOCK_DGRAM if options.udp else socket.SOCK_STREAM
    with socket.socket(family_of(address), kind) as client:
        client.settimeout(options.timeout)
        if options.source:
            client.bind((options.source, 0))
        client.connect((address, int(port)))
        if options.udp:
            client.send(b"?")
            return json.loads(client.recv(2048))
        with client.makefile() as lines:
            return json.loads(lines.readline())


def try_to_dial(options):
    try:
        return dial(options)
    except ConnectionRefusedError:
        return {"error": "refused"}
    except TimeoutError:
        return {"error": "timeout"}
    except OSError as error:
        if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            return {"error": "unreachable"}
        raise


def dial_all(options):
    """Each in a process of its own, which may become its user; all at once."""
    waiting = []
    for call in json.load(sys.stdin):
        reader, writer = os.pipe()
        if os.fork() == 0:
            words = [call["address"], call["port"]]
            values = {**vars(options), "uid": 0, "source": None, "udp": False, **call, "words": words}
            os.write(writer, json.dumps(try_to_dial(argparse.Namespace(**values))).encode())
            os._exit(0)
        os.close(writer)
        waiting.append(reader)
    print(json.dumps([json.loads(open(reader).read()) for reader in waiting]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["listen", "dial", "dial-all"])
    parser.add_argument("words", nargs="+")
    parser.add_argument("--uid", type=int, default=0)
    parser.add_argument("--udp", action="store_true")
    parser.add_argument("--transparent", action="store_true")
    parser.add_argument("--from", dest="source")
    parser.add_argument("--timeout", type=float, default=10)
    options = parser.parse_args()
    if options.command == "listen":
        listen(options)
    if options.command == "dial-all":
        dial_all(options)
    else:
        print(json.dumps(try_to_dial(options)))


if __name__ == "__main__":
    main()
