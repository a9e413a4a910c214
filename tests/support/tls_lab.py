"""Certificates for a test, made by the openssl command, and a bare HTTP server that speaks TLS.

    authority = Authority(workspace / "ca")
    identity = authority.issue("orders", uris=["spiffe://prod/orders"])   # .certificate, .key, .bundle: paths
    identity.table()                                                       # the `[identity]` of a proxy
"""
import socket
import ssl
import subprocess
import threading
from pathlib import Path

from support.proxy_lab import BackendConnection, end_listener

EXTENSIONS = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n"


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Identity:
    def __init__(self, directory, bundle):
        self.certificate = directory / "tls.crt"
        self.key = directory / "tls.key"
        self.bundle = bundle

    def table(self):
        return (f'[identity]\ncertificate_file = "{self.certificate}"\nkey_file = "{self.key}"\n'
                f'trust_bundle_file = "{self.bundle}"\n')

    def curl(self):
        return ["--cert", str(self.certificate), "--key", str(self.key), "--cacert", str(self.bundle)]

    def client_context(self, with_certificate=True):
        context = ssl.create_default_context(cafile=str(self.bundle))
        context.check_hostname = False
        if with_certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context

    def server_context(self, requires_client=False, alpn=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if requires_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.bundle)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context


class Authority:
    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True)
        self.bundle = self.directory / "ca.crt"
        self.key = self.directory / "ca.key"
        self.count = 0
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key,
                "-out", self.bundle, "-days", "30", "-subj", f"/CN={self.directory.name}")

    def issue(self, name, uris=(), dns=(), ips=(), key="ec", expired=False, into=None):
        self.count += 1
        place = into or self.directory / f"{name}-{self.count}"
        place.mkdir(exist_ok=True)
        fresh = self.directory / f"new-{self.count}"
        fresh.mkdir()
        names = [f"URI:{one}" for one in uris] + [f"DNS:{one}" for one in dns] + [f"IP:{one}" for one in ips]
        extensions = fresh / "extensions"
        extensions.write_text(EXTENSIONS + (f"subjectAltName={','.join(names)}\n" if names else ""))
        kind = ["rsa:2048"] if key == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        openssl("req", "-newkey", *kind, "-nodes", "-keyout", fresh / "tls.key", "-out", fresh / "csr",
                "-subj", f"/CN={name}")
        if expired:
            self._sign_expired(fresh, extensions)
        else:
            openssl("x509", "-req", "-in", fresh / "csr", "-CA", self.bundle, "-CAkey", self.key, "-days", "10",
                    "-set_serial", 1000 + self.count, "-extfile", extensions, "-out", fresh / "tls.crt")
        for file in ("tls.key", "tls.crt"):
            (fresh / file).chmod(0o644)
            (fresh / file).rename(place / file)
        return Identity(place, self.bundle)

    def _sign_expired(self, fresh, extensions):
        (fresh / "index").write_text("")
        (fresh / "serial").write_text("77")
        config = fresh / "ca.cnf"
        config.write_text(f"[ca]\ndefault_ca=own\n[own]\ndatabase={fresh}/index\nserial={fresh}/serial\nnew_certs_dir={fresh}\n"
                          "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n")
        openssl("ca", "-batch", "-config", config, "-in", fresh / "csr", "-cert", self.bundle, "-keyfile", self.key,
                "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-extfile", extensions, "-notext",
                "-out", fresh / "tls.crt")


class TlsBackend:
    """As RawBackend, behind TLS: `serve(connection)` for each; `connection.tls` is the ssl socket."""

    def __init__(self, context, serve):
        self.context, self.serve = context, serve
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.handshakes, self.resumed, self.errors, self.peers = 0, 0, [], []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        connection.settimeout(30)
        try:
            with self.context.wrap_socket(connection, server_side=True) as tls:
                self.handshakes += 1
                self.resumed += bool(tls.session_reused)
                self.peers.append(tls.getpeercert())
                one = BackendConnection(tls)
                one.tls = tls
                self.serve(one)
        except (OSError, EOFError) as error:
            self.errors.append(error)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end_listener(self.listener)
