"""What most tests do: start a witness, move it, and ask it whether it was harmed."""

from harness.machine import Machine


def witness_line(vcpus=1, static=32, ws=16, rate=50, idle="hlt", **more):
    words = {"smp": vcpus, "static_mib": static, "ws_mib": ws, "rate": rate, "verify_ms": 500,
             "period_ms": 200, "idle": idle, **more}
    return " ".join(f"{k}={v}" for k, v in words.items())


def launch(machine, name="source", vcpus=1, memory="256M", args=(), env=None, wrap=(), **witness):
    m = machine(name, append=witness_line(vcpus, **witness), memory=memory, vcpus=vcpus, args=args,
                env=env, wrap=wrap)
    m.witness.wait("READY", 120)
    return m


def destination(machine, folder, name="destination", transport="tcp", args=(), env=None):
    uri = "tcp:127.0.0.1:0" if transport == "tcp" else f"unix:{folder}/{name}.mig"
    m = machine(name, incoming=uri, args=args, env=env)
    return m, m.listening_uri()


def move(source, target, uri, timeout=120):
    """Migrates and checks both ends' words about it."""
    source.migrate(uri)
    answer = source.wait_migration(timeout=timeout)
    assert answer["status"] == "completed", answer
    assert source.status() == "postmigrate"
    assert target.status() == "running"
    return answer


def assert_unharmed(m, rounds=2, timeout=60):
    """All memory was compared again since now, and nothing was found."""
    seen = len(m.witness.all("W"))
    first = m.witness.wait("W", timeout, after=seen)
    m.witness.wait("W", timeout, after=seen, test=lambda w: w["pass"] >= first["pass"] + rounds and
                   w["gen"] >= first["gen"] + rounds)
    assert m.witness.complaints() == []


def together(machine, folder, transport="tcp", **keywords):
    """A witness, moved once; (source, destination, answer)."""
    source = launch(machine, **keywords)
    target, uri = destination(machine, folder, transport=transport)
    answer = move(source, target, uri)
    return source, target, answer


__all__ = ["Machine", "assert_unharmed", "destination", "launch", "move", "together",
           "witness_line"]
