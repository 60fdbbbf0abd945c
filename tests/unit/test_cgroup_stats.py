"""Statistics from control files, in runc's form: v1, v2, and a hybrid of both."""

import pytest

from pyruntime.cgroup.cgroup import Cgroup
from pyruntime.cgroup.stats import stats
from pyruntime.cgroup.stats_values import MOST
from pyruntime.cli.verbs.events import seconds

V1 = {
    "cpuacct": {
        "cpuacct.stat": "user 3\nsystem 5\n",
        "cpuacct.usage": "80000000\n",
        "cpuacct.usage_percpu": "50000000 30000000 \n",
        "cpuacct.usage_all": "cpu user system\n0 10 20\n1 30 40\n",
    },
    "cpu": {"cpu.stat": "nr_periods 7\nnr_throttled 2\nthrottled_time 900\n"},
    "memory": {
        "memory.stat": "cache 4096\nrss 8192\n",
        "memory.usage_in_bytes": "12288\n",
        "memory.limit_in_bytes": "65536\n",
        "memory.max_usage_in_bytes": "16384\n",
        "memory.failcnt": "1\n",
    },
    "pids": {"pids.current": "3\n", "pids.max": "max\n"},
    "cpuset": {"cpuset.cpus": "0-2,5\n", "cpuset.mems": "0\n", "cpuset.sched_relax_domain_level": "-1\n"},
    "blkio": {"blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 0\n8:0 Total 4096\nTotal 4096\n"},
}

V2 = {
    "cpu.stat": "usage_usec 80\nuser_usec 30\nsystem_usec 50\nnr_periods 7\nnr_throttled 2\nthrottled_usec 9\n",
    "cpu.pressure": "some avg10=1.50 avg60=0.00 avg300=0.00 total=700\n",
    "memory.stat": "anon 8192\nfile 4096\n",
    "memory.current": "12288\n",
    "memory.max": "65536\n",
    "memory.peak": "16384\n",
    "memory.swap.current": "100\n",
    "memory.swap.max": "max\n",
    "pids.current": "3\n",
    "pids.max": "10\n",
    "io.stat": "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n",
}


def written(directory, files):
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)
    return str(directory)


@pytest.fixture
def v1(tmp_path):
    return {name: written(tmp_path / name / "group", files) for name, files in V1.items()}


@pytest.fixture
def v2(tmp_path):
    return written(tmp_path / "unified" / "group", V2)


def test_v1(v1):
    document = stats(Cgroup(v1, []))
    usage = document["cpu"]["usage"]
    assert usage["total"] == 80000000
    assert (usage["percpu"], usage["percpu_user"], usage["percpu_kernel"]) == ([50000000, 30000000], [10, 30], [20, 40])
    assert usage["kernel"] / usage["user"] == 5 / 3
    assert document["cpu"]["throttling"] == {"periods": 7, "throttledPeriods": 2, "throttledTime": 900}
    assert document["memory"]["cache"] == 4096
    assert document["memory"]["usage"] == {"limit": 65536, "usage": 12288, "max": 16384, "failcnt": 1}
    assert document["memory"]["raw"] == {"cache": 4096, "rss": 8192}
    assert document["pids"] == {"current": 3}
    assert document["cpuset"]["cpus"] == [0, 1, 2, 5]
    assert document["cpuset"]["sched_relax_domain_level"] == -1
    assert document["blkio"]["ioServiceBytesRecursive"] == [
        {"major": 8, "op": "Read", "value": 4096},
        {"major": 8, "op": "Write"},
        {"major": 8, "op": "Total", "value": 4096},
    ]


def test_v2(v2):
    document = stats(Cgroup({"": v2}, []))
    assert document["cpu"]["usage"] == {"total": 80000, "kernel": 50000, "user": 30000}
    assert document["cpu"]["throttling"] == {"periods": 7, "throttledPeriods": 2, "throttledTime": 9000}
    assert document["cpu"]["psi"] == {"some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 700}}
    assert document["memory"]["cache"] == 4096
    assert document["memory"]["usage"] == {"limit": 65536, "usage": 12288, "max": 16384, "failcnt": 0}
    assert document["memory"]["swap"] == {"limit": MOST, "usage": 12388, "failcnt": 0}
    assert document["pids"] == {"current": 3, "limit": 10}
    assert document["blkio"]["ioServiceBytesRecursive"] == [
        {"major": 8, "op": "Read", "value": 4096},
        {"major": 8, "op": "Write"},
    ]


def test_each_controller_is_read_where_it_is(v1, v2):
    document = stats(Cgroup({"memory": v1["memory"], "": v2}, []))
    assert "rss" in document["memory"]["raw"]
    assert document["pids"] == {"current": 3, "limit": 10}


def test_a_group_that_is_gone_has_used_nothing(tmp_path):
    document = stats(Cgroup({name: str(tmp_path / "gone") for name in (*V1, "")}, []))
    assert document["pids"] == {}
    assert document["cpu"]["usage"] == {"kernel": 0, "user": 0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5s", 5), ("500ms", 0.5), ("1m30s", 90), ("1.5h", 5400), ("-1s", None), ("5", None), ("s", None), ("", None)],
)
def test_durations_are_those_of_go(text, expected):
    assert seconds(text) == expected
