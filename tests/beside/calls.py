"""The verbs that make processes, with their options, and hooks of each kind."""

from variation import CREATE, DETACHED, EXEC, RUN, TO, WAIT, Variation

from changes import capable, linux, mapped, process, top, user

WAITS = process(args=WAIT)


def calls(name, *changes, calls=RUN, **more):
    return Variation(name, changes, calls, **more)


def executed(name, *words, **more):
    """A call of exec whose process writes to /out/NAME."""
    return ("exec", *words, "ID", *TO, f"/out/{name}")


def document(name, **values):
    """The process of `exec --process` in a file: {file: process}."""
    plain = {"args": [*TO, f"/out/{name}"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    return {f"{name}.json": {**plain, **values}}


def of_documents(**documents):
    """The files and the calls of some documents for `exec --process`."""
    files = {}
    for name, values in documents.items():
        files.update(document(name.replace("_", "-"), **values))
    return {"files": files, "calls": (DETACHED, *(("exec", "--process", f"BUNDLE/{file}", "ID") for file in files))}


ALL = ("bounding", "effective", "permitted", "inheritable", "ambient")

VERBS = [
    calls(
        "exec",
        WAITS,
        calls=(
            DETACHED,
            executed("plain"),
            executed("user", "--user", "1000:1000"),
            executed("uid", "--user", "1000"),
            executed("env", "--env", "A=1", "--env", "A=2", "--env", "PATH=/x"),
            executed("cwd", "--cwd", "/tmp"),
            executed("cwd-missing", "--cwd", "/not/there"),
            executed("cap", "--cap", "CAP_SYS_ADMIN"),
            executed("cap-user", "--cap", "CAP_SYS_ADMIN", "--user", "1000:1000"),
            executed("no-new-privs", "--no-new-privs"),
            executed("groups", "--additional-gids", "5", "--additional-gids", "6"),
            ("exec", "-d", "ID", *TO, "/out/detached"),
            ("exec", "--pid-file", "pid", "ID", *TO, "/out/pid-file"),
            ("exec", "--console-socket", "console.sock", "-t", "-d", "ID", *TO, "/out/terminal"),
            ("exec", "ID", "linked", "--to", "/out/in-path"),
            ("exec", "ID", "/is/not/there"),
            ("exec", "ID", "missing"),
            ("exec", "ID", "/etc/passwd"),
            ("exec", "ID", "/etc"),
            ("exec", "ID", ""),
            ("exec", "ID"),
            ("exec", "no-such-container", "/probe"),
            ("exec", "--user", "x", "ID", "/probe"),
            ("exec", "--cap", "CAP_NO_SUCH", "ID", "/probe", "--exit", "0"),
        ),
    ),
    calls(
        "exec of a configuration with everything",
        process(
            args=WAIT,
            noNewPrivileges=True,
            oomScoreAdj=100,
            rlimits=[{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}],
            cwd="/tmp",
            env=["A=1", "PATH=/bin"],
        ),
        user(uid=1000, gid=1000, additionalGids=[7], umask=0o27),
        linux(
            personality={"domain": "LINUX"},
            seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]},
        ),
        calls=(DETACHED, executed("plain"), executed("root", "--user", "0:0"), executed("env", "--env", "B=1")),
    ),
    calls(
        "exec, user namespace",
        WAITS,
        mapped(),
        calls=(DETACHED, executed("plain"), executed("user", "--user", "1000:1000")),
    ),
    calls(
        "exec with capabilities of the container",
        WAITS,
        capable("SYS_ADMIN", "CHOWN"),
        calls=(
            DETACHED,
            executed("plain"),
            executed("cap", "--cap", "CAP_KILL"),
            executed("user", "--user", "1000:1000"),
        ),
    ),
    calls("exec into a created container", calls=(("create", "-b", "BUNDLE", "ID"), executed("exec"))),
    calls(
        "exec into a stopped container",
        process(args=["/probe", "--exit", "0"]),
        calls=(DETACHED, ("wait",), executed("exec")),
    ),
    calls("exec into a paused container", WAITS, calls=(DETACHED, ("pause", "ID"), executed("exec"), ("resume", "ID"))),
    calls(
        "exec --process",
        WAITS,
        **of_documents(
            plain={},
            no_env={"env": []},
            env_twice={"env": ["A=1", "A=2", "HOME=/x"]},
            user={"user": {"uid": 1000, "gid": 1000, "additionalGids": [3, 4], "umask": 0o77}},
            limits={"rlimits": [{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}]},
            score={"oomScoreAdj": 200},
            capabilities={"capabilities": {name: ["CAP_KILL"] for name in ALL}},
            no_capabilities={"capabilities": {name: [] for name in ALL}},
            privileges={"noNewPrivileges": True},
            directory={"cwd": "/tmp"},
            missing_directory={"cwd": "/not/there"},
            terminal={"terminal": True},
            apparmor={"apparmorProfile": "no-such"},
            missing={"args": ["/missing"]},
            empty={"args": []},
            relative={"cwd": "tmp"},
            wrong={"rlimits": [{"type": "RLIMIT_NO_SUCH", "soft": 1, "hard": 2}]},
        ),
    ),
    calls("run detached", calls=(DETACHED, ("wait",), ("delete", "ID"))),
    calls("run with a pid file", calls=(("run", "--pid-file", "pid", "-b", "BUNDLE", "ID"),)),
    calls("run --no-pivot", calls=(("run", "--no-pivot", "-b", "BUNDLE", "ID"),)),
    calls("run --no-new-keyring", calls=(("run", "--no-new-keyring", "-b", "BUNDLE", "ID"),)),
    calls("run --keep", calls=(("run", "--keep", "-b", "BUNDLE", "ID"), ("state", "ID"), ("delete", "ID"))),
    calls(
        "run --preserve-fds",
        calls=(("run", "--preserve-fds", "2", "-b", "BUNDLE", "ID"),),
        caller={"descriptors": (3, 4, 7)},
    ),
    calls(
        "exec --preserve-fds",
        WAITS,
        calls=(DETACHED, executed("exec", "--preserve-fds", "1")),
        caller={"descriptors": (3, 4, 7)},
        before=1,
    ),
    calls("descriptors that are not preserved", caller={"descriptors": (3, 4, 7, 900)}),
    calls("descriptors that are not preserved, created", calls=CREATE, caller={"descriptors": (3, 4, 7, 900)}),
    calls(
        "descriptors that are not preserved, exec", WAITS, calls=EXEC, caller={"descriptors": (3, 4, 7, 900)}, before=1
    ),
    calls("twice", WAITS, calls=(DETACHED, DETACHED)),
    calls("started twice", WAITS, calls=(("create", "-b", "BUNDLE", "ID"), ("start", "ID"), ("start", "ID"))),
    calls("deleted while running", WAITS, calls=(DETACHED, ("delete", "ID"))),
    calls(
        "killed", WAITS, calls=(DETACHED, ("kill", "ID", "KILL"), ("wait",), ("kill", "ID", "KILL"), ("delete", "ID"))
    ),
    calls("exit status of a signal", process(args=["/probe", "--signal", "9"])),
    calls("exit status 7", process(args=["/probe", "--exit", "7"])),
    calls(
        "exit status of exec",
        WAITS,
        calls=(
            DETACHED,
            ("exec", "ID", "/probe", "--exit", "7"),
            ("exec", "ID", "/probe", "--signal", "15"),
            ("exec", "ID", "/probe", "--signal", "9"),
        ),
    ),
    calls(
        "updated",
        WAITS,
        calls=(
            DETACHED,
            ("update", "--memory", "67108864", "--cpu-share", "300", "--pids-limit", "20", "ID"),
            executed("exec"),
        ),
    ),
    calls(
        "updated from a file",
        WAITS,
        files={
            "limits.json": {
                "memory": {"limit": 67108864},
                "cpu": {"shares": 200, "quota": 30000, "period": 60000},
                "pids": {"limit": 33},
            }
        },
        calls=(DETACHED, ("update", "--resources", "BUNDLE/limits.json", "ID"), executed("exec")),
    ),
]

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def hook(kind, **more):
    """A hook of the probe. Where it runs in the container's root it is /probe, which writes to /out."""
    inside = kind == "startContainer"
    folder = "" if inside else "BUNDLE/rootfs"
    entry = {"path": f"{folder}/probe", "args": ["hook", "--stdin", "--to", f"{folder}/out/{kind}"], **more}
    return lambda config: config.setdefault("hooks", {}).setdefault(kind, []).append(entry)


HOOKS = [
    calls("hooks", *(hook(kind) for kind in KINDS), calls=CREATE),
    calls("hooks of a caller elsewhere", *(hook(kind) for kind in KINDS), calls=CREATE, caller={"cwd": "/"}),
    calls("hooks, run", *(hook(kind, env=["A=1", "A=2", "B="], timeout=10) for kind in KINDS)),
    *(
        calls(
            f"hook {kind}, without args",
            top(hooks={kind: [{"path": "/probe" if kind == "startContainer" else "BUNDLE/rootfs/probe"}]}),
        )
        for kind in ("prestart", "startContainer")
    ),
    calls(
        "hooks of a user in a user namespace",
        mapped(),
        user(uid=1000, gid=1000, umask=0o77),
        process(cwd="/tmp"),
        *(hook(kind) for kind in KINDS),
        calls=CREATE,
    ),
    calls(
        "hooks, umask and limits",
        user(umask=0o77),
        process(rlimits=[{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}], oomScoreAdj=300),
        *(hook(kind) for kind in KINDS),
    ),
    *(
        calls(
            f"hook {kind} that fails",
            top(
                hooks={
                    kind: [
                        {
                            "path": "/probe" if kind == "startContainer" else "BUNDLE/rootfs/probe",
                            "args": ["probe", "--exit", "3"],
                        }
                    ]
                }
            ),
        )
        for kind in KINDS
    ),
    *(calls(f"hook {kind} that is not there", top(hooks={kind: [{"path": "/missing/hook"}]})) for kind in KINDS),
]

CALLS = [*VERBS, *HOOKS]
