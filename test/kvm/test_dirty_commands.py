"""calc-dirty-rate and set-vcpu-dirty-limit: QEMU's words, and that they see and hold the guest."""

import time

import pytest

from flight import assert_unharmed, launch
from harness.qmp import QmpError

RING = ("-accel", "kvm,dirty-ring-size=4096")
SAMPLES = 512  # pages per GiB, QEMU's default


def calc(m, **arguments):
    m.qmp.command("calc-dirty-rate", {k.replace("_", "-"): v for k, v in arguments.items()})


def measured(m, timeout=20):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        answer = m.qmp.command("query-dirty-rate")
        if answer["status"] != "measuring":
            return answer
        time.sleep(0.02)
    raise TimeoutError(answer)


def test_nothing_was_measured(machine):
    m = machine("idle", incoming="defer")
    assert m.qmp.command("query-dirty-rate")["status"] == "unstarted"
    assert m.qmp.command("query-vcpu-dirty-limit") == []
    with pytest.raises(QmpError):
        calc(m, calc_time=1)


@pytest.mark.parametrize("mode,args", [("page-sampling", ()), ("dirty-bitmap", ()),
                                       ("dirty-ring", RING)])
def test_a_rate(machine, mode, args):
    m = launch(machine, vcpus=2, static=16, ws=64, rate=100, args=args)
    calc(m, calc_time=1, mode=mode)
    assert m.qmp.command("query-dirty-rate")["status"] == "measuring"
    with pytest.raises(QmpError):
        calc(m, calc_time=1)
    answer = measured(m)
    assert {k: answer[k] for k in ("status", "mode", "calc-time", "calc-time-unit")} == {
        "status": "measured", "mode": mode, "calc-time": 1, "calc-time-unit": "second"}
    assert answer["dirty-rate"] > 0
    assert abs(answer["start-time"] - time.time()) < 30
    if mode == "dirty-ring":
        assert [v["id"] for v in answer["vcpu-dirty-rate"]] == [0, 1]
        assert sum(v["dirty-rate"] for v in answer["vcpu-dirty-rate"]) > 0
    else:
        assert "vcpu-dirty-rate" not in answer
    if mode == "page-sampling":
        assert answer["sample-pages"] == SAMPLES
    ms = m.qmp.command("query-dirty-rate", {"calc-time-unit": "millisecond"})
    assert (ms["calc-time"], ms["calc-time-unit"]) == (1000, "millisecond")
    assert_unharmed(m, rounds=1)


@pytest.mark.parametrize("arguments,text", [
    ({"calc_time": 0}, ""), ({"calc_time": 61}, ""),
    ({"calc_time": 1500, "calc_time_unit": "millisecond"}, "full seconds"),
    ({"calc_time": 1, "calc_time_unit": "hour"}, "second or millisecond, not 'hour'"),
    ({"calc_time": 1, "mode": "guess"}, "not 'guess'"),
    ({"calc_time": 1, "sample_pages": 127}, "128 to 4096, not 127"),
    ({"calc_time": 1, "mode": "dirty-ring"}, "dirty-ring-size="),
    ({}, "calc-time"),
])
def test_what_is_not_measured(machine, arguments, text):
    m = launch(machine)
    with pytest.raises(QmpError) as refused:
        calc(m, **arguments)
    assert text in refused.value.desc
    assert m.qmp.command("query-dirty-rate")["status"] == "unstarted"


def test_limits(machine):
    m = launch(machine, vcpus=2, args=RING)
    m.qmp.command("set-vcpu-dirty-limit", {"cpu-index": 1, "dirty-rate": 5})
    limits = m.qmp.command("query-vcpu-dirty-limit")
    assert [(v["cpu-index"], v["limit-rate"]) for v in limits] == [(1, 5)]
    assert type(limits[0]["current-rate"]) is int
    m.qmp.command("set-vcpu-dirty-limit", {"dirty-rate": 7})
    limits = m.qmp.command("query-vcpu-dirty-limit")
    assert [(v["cpu-index"], v["limit-rate"]) for v in limits] == [(0, 7), (1, 7)]
    m.qmp.command("cancel-vcpu-dirty-limit", {"cpu-index": 0})
    assert [v["cpu-index"] for v in m.qmp.command("query-vcpu-dirty-limit")] == [1]
    m.qmp.command("cancel-vcpu-dirty-limit")
    assert m.qmp.command("query-vcpu-dirty-limit") == []
    for bad in ({"cpu-index": 2, "dirty-rate": 5}, {"cpu-index": 2 ** 32 - 1, "dirty-rate": 5},
                {"dirty-rate": 0}, {"dirty-rate": 2 ** 20 + 1}):
        with pytest.raises(QmpError):
            m.qmp.command("set-vcpu-dirty-limit", bad)
    assert m.qmp.command("query-vcpu-dirty-limit") == []
    assert_unharmed(m, rounds=1)


def test_limits_need_the_ring(machine):
    m = launch(machine)
    with pytest.raises(QmpError, match="dirty-ring-size="):
        m.qmp.command("set-vcpu-dirty-limit", {"dirty-rate": 5})
