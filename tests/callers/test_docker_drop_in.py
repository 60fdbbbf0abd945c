"""A Docker Engine that knows of no pyruntime: the program `runc` that it finds is one."""


def test_it_is_the_runtime_and_nobody_notices(drop_in_docker):
    docker = drop_in_docker
    assert docker("info", "--format", "{{.DefaultRuntime}}").stdout == "runc\n"
    docker("run", "--detach", "--name", "busy", "--memory", "64m", "box", "sleep", "1000")
    assert docker("exec", "busy", "sh", "-c", "echo out; exit 3", status=3).stdout == "out\n"
    assert [place.name for place in docker.runtime_root.iterdir() if (place / "state.json").exists()] == [
        docker.inspect("busy", "{{.Id}}")
    ]
    docker("pause", "busy")
    docker("unpause", "busy")
    docker("stop", "--time", "0", "busy")
    assert docker.state("busy") == ("exited", 137)


def test_errors_name_the_element_of_the_configuration(drop_in_docker):
    done = drop_in_docker("run", "--rm", "box", "/not/there", status=127)
    assert "/process/args/0" in done.stderr
