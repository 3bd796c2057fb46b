"""What keeps Ray from starting ends as one line."""

import inspect
from pathlib import Path

import psutil
import pytest
import ray

import search
from search.cli.ending import errors_as_lines
from search.running.messages import Messages
from search.running.ray_session import SLOW_START, ray_session, refuse_resources
from search.study.resources import Resources
from tests.search.conftest import FEW, installed


def test_a_ray_that_this_process_uses_already_is_refused_with_what_to_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    with pytest.raises(ValueError, match=r"this process uses Ray already; call ray\.shutdown\(\) before the run"):
        search.run("digits", storage=str(tmp_path / "studies"), overrides=FEW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_temporary_folder_with_a_long_path_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    scratch = tmp_path / ("a-long-path-of-a-batch-system/" * 4)
    scratch.mkdir(parents=True)
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    done = installed("run", "digits", "--set", *FEW, cwd=tmp_path, more={variable: str(scratch)})
    assert done.returncode == 2, done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: {variable} must be a short path, as Ray's sockets lie below it, but is '{scratch}")
    assert "set RAY_TMPDIR to a short folder" in error
    assert "Traceback" not in done.stderr


def test_a_ray_that_starts_too_slowly_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert SLOW_START in inspect.getsource(ray._private.node)

    def slow(*_: object, **__: object) -> None:
        raise Exception(f"The current node {SLOW_START}. This could happen because ...")

    monkeypatch.setattr("ray.init", slow)
    with pytest.raises(SystemExit) as ended, errors_as_lines(tracebacks=False):
        search.run("digits", storage=str(tmp_path / "studies"), overrides=FEW)
    assert ended.value.code == 1
    first, second = capsys.readouterr().err.splitlines()[-2:]
    assert first.startswith("error: Ray must start within 30 seconds, but did not; give the same command again")
    assert second.startswith("error: Ray's log is in ")


def test_a_machine_without_gpus_refuses_them_before_ray_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    refuse_resources(Resources(gpus=1), None)
    refuse_resources(Resources(gpus=1, workers=2), "auto")  # a cluster may have more
    refuse_resources(Resources(), None)
    with pytest.raises(ValueError, match=r"PyTorch sees 1 GPU, but a trial asks for 2; set resources\.gpus=auto"):
        refuse_resources(Resources(gpus=1, workers=2), None)


def test_a_local_ray_starts_no_services_that_only_clusters_need() -> None:
    before = ray._private.node.Node.start_api_server
    with ray_session(Resources(), None, Messages("quiet")):
        commands = [" ".join(each.cmdline()) for each in psutil.Process().children(recursive=True)]
        assert ray.get(ray.remote(lambda: 7).remote()) == 7
    assert any("raylet" in command for command in commands)
    assert not [command for command in commands if "dashboard/dashboard.py" in command or "monitor.py" in command]
    assert ray._private.node.Node.start_api_server is before
