"""Machines that move over TLS, and who is not let in: two monitors, and the openssl command as a
stranger."""

import pathlib
import subprocess

import pytest

from flight import assert_unharmed, launch, move
from harness.qmp import QmpError

CERTS = pathlib.Path(__file__).resolve().parents[1] / "tls-certs"


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run([CERTS, folder], check=True)
    return folder


def creds(folder, endpoint, name, kind="x509", **more):
    words = "".join(f",{k}={v}" for k, v in more.items())
    return ("-object", f"tls-creds-{kind},id=tls0,dir={folder}/{name},endpoint={endpoint}{words}")


def listen(machine, folder, args, transport="tcp", name="destination"):
    """A destination that wants TLS; its address."""
    uri = "tcp:127.0.0.1:0" if transport == "tcp" else f"unix:{folder}/{name}.mig"
    target = machine(name, incoming="defer", args=args)
    target.set(tls_creds="tls0")
    target.qmp.command("migrate-incoming", {"uri": uri})
    return target, target.listening_uri()


@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize("kind", ["x509", "psk"])
def test_moves(machine, tmp_path, certs, transport, kind):
    name = "good" if kind == "x509" else "psk"
    source = launch(machine, args=creds(certs, "client", name, kind))
    target, uri = listen(machine, tmp_path, creds(certs, "server", name, kind), transport)
    source.set(tls_creds="tls0", tls_hostname="alpha.example", multifd_channels=2)
    move(source, target, uri)
    assert_unharmed(target)


def test_another_user(machine, tmp_path, certs):
    source = launch(machine, args=creds(certs, "client", "psk", "psk", username="bob"))
    target, uri = listen(machine, tmp_path, creds(certs, "server", "psk", "psk"))
    source.set(tls_creds="tls0")
    move(source, target, uri)


def refuse(source, uri, text):
    source.migrate(uri)
    answer = source.wait_migration(timeout=20)
    assert answer["status"] == "failed"
    assert text in answer["error-desc"]
    assert source.status() == "running"


def test_refused_and_then_let_in(machine, tmp_path, certs):
    """Whoever is turned away hears why, and uses nothing up."""
    source = launch(machine, args=creds(certs, "client", "good"))
    target, uri = listen(machine, tmp_path, creds(certs, "server", "good"))

    refuse(source, uri, "this destination wants TLS: set tls-creds")
    source.set(tls_creds="tls0", tls_hostname="gamma.example")
    refuse(source, uri, "is for localhost, alpha.example, 127.0.0.1, ::1, not gamma.example")
    source.set(tls_hostname="")
    for name, text in (("other-ca", "the destination's certificate (localhost"),
                       ("psk", "the destination")):
        kind = "psk" if name == "psk" else "x509"
        source.qmp.command("object-add", {"qom-type": f"tls-creds-{kind}", "id": name,
                                          "dir": str(certs / name), "endpoint": "client"})
        source.set(tls_creds=name)
        refuse(source, uri, text)
        source.qmp.command("object-del", {"id": name})
    assert "refused tcp:127.0.0.1" in target.log_text()
    source.set(tls_creds="tls0")
    move(source, target, uri)
    assert_unharmed(target)


def test_expired_is_said_by_the_destination(machine, tmp_path, certs):
    """The source's certificate expires between two migrations of the same object."""
    short = tmp_path / "certs"
    subprocess.run([CERTS, short, "8"], check=True)
    source = launch(machine, args=creds(short, "client", "short"))
    target, uri = listen(machine, tmp_path, creds(short, "server", "good"))
    source.set(tls_creds="tls0")
    deadline = short / "short" / "client-cert.pem"
    while subprocess.run(["openssl", "x509", "-checkend", "0", "-noout", "-in", deadline],
                         stdout=subprocess.DEVNULL).returncode == 0:
        source.status()
        subprocess.run(["sleep", "0.2"], check=True)
    refuse(source, uri, "the destination refused our certificate: it has expired")
    assert target.status() == "inmigrate"


def test_destination_without_tls(machine, tmp_path, certs):
    source = launch(machine, args=creds(certs, "client", "good"))
    target = machine("destination", incoming="tcp:127.0.0.1:0")
    uri = target.listening_uri()
    source.set(tls_creds="tls0")
    refuse(source, uri, "does not speak it")
    target.wait_log("it speaks TLS, and this destination has no tls-creds")
    source.set(tls_creds="")
    move(source, target, uri)


def s_client(uri, *args):
    port = uri.rsplit(":", 1)[1]
    return subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *args],
                          input=b"", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)


def test_strangers_with_openssl(machine, tmp_path, certs):
    source = launch(machine, args=creds(certs, "client", "good"))
    target, uri = listen(machine, tmp_path, creds(certs, "server", "good"))
    assert b"TLSv1.3" in s_client(uri).stdout  # no certificate: the handshake, then an alert
    assert target.wait_log("refused tcp:127.0.0.1")
    assert "has no certificate to show" in target.log_text()
    assert s_client(uri, "-tls1_2").returncode != 0
    target.wait_log("older TLS than 1.3")
    stale = certs / "expired"
    s_client(uri, "-cert", stale / "client-cert.pem", "-key", stale / "client-key.pem")
    target.wait_log("certificate has expired")
    source.set(tls_creds="tls0")
    move(source, target, uri)


def test_objects(machine, certs):
    m = machine("empty", incoming="defer")
    add = {"qom-type": "tls-creds-x509", "id": "a", "dir": str(certs / "good"),
           "endpoint": "server"}
    m.qmp.command("object-add", add)
    for change, text in (({}, "duplicate object 'a'"),
                         ({"id": "b", "dir": "/nowhere"}, "'/nowhere/ca-cert.pem'"),
                         ({"id": "b", "dir": str(certs / "expired")}, "expired on"),
                         ({"id": "b", "dir": str(certs / "open-key")}, "everybody"),
                         ({"id": "b", "endpoint": "both"}, "endpoint"),
                         ({"id": "b", "qom-type": "rng-random"}, "qom-type"),
                         ({"id": "b", "color": "red"}, "color")):
        with pytest.raises(QmpError, match=text):
            m.qmp.command("object-add", {**add, **change})
    m.set(tls_creds="nothing")
    with pytest.raises(QmpError, match="no object 'nothing'"):
        m.qmp.command("migrate-incoming", {"uri": "tcp:127.0.0.1:0"})
    m.qmp.command("object-del", {"id": "a"})
    with pytest.raises(QmpError, match="not found"):
        m.qmp.command("object-del", {"id": "a"})
    assert not any("private" in line.lower() for line in m.log_text().splitlines())


def test_command_line(machine, certs):
    with pytest.raises(RuntimeError, match="server-cert.pem' expired on"):
        machine("bad", incoming="defer", args=creds(certs, "server", "expired"))
    m = machine("clear", incoming="tcp:127.0.0.1:0", args=creds(certs, "server", "good"))
    assert "listens in the clear" in m.stderr_text()
