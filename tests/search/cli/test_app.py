"""The command line: what it lists, what it refuses, how fast it answers."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from search.cli.options import spread
from search.results.folder import StudyFolder
from tests.search.conftest import COMMAND, Run, howcompact, installed
from tests.search.ports import free_port


def test_options_take_several_values() -> None:
    assert spread(["best", "d", "--where", "a>1", "b<2", "--out", "o", "--set", "x=1"]) == [
        *["best", "d", "--where", "a>1", "--where", "b<2", "--out", "o", "--set", "x=1"]
    ]
    assert spread(["run", "digits", "--set", "a=1", "--set", "b=2", "c=3"]) == [
        *["run", "digits", "--set", "a=1", "--set", "b=2", "--set", "c=3"]
    ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "digits", "--set", "sparsities=[1.5]", "seed=3"], "error: seed must be a known setting"),
        (["run", "digist"], "error: study must be a known name, but got 'digist'; did you mean 'digits'?"),
        (["compare", "nowhere"], "error: a study folder must hold study.json"),
        (["best", "nowhere"], "error: a study folder must hold study.json"),
        (["status", "nowhere"], "error: a study folder must hold study.json"),
        (
            ["allocate", "vgg16", "--policy", "erk", "--sparsity", "1.0"],
            "error: sparsity must be less than 1",
        ),
        (["allocate", "vgg17", "--policy", "erk", "--sparsity", "0.5"], "did you mean"),
        (["allocate", "vgg16", "--policy", "erc", "--sparsity", "0.5"], "did you mean 'erk'"),
        (["allocate", "vgg16", "--policy", "gates", "--granularity=channel", "--sparsity", "0.5"], "run a study"),
        (["catalog", "polices"], "did you mean 'policies'"),
        (["run", "digits", "--storage", "nosuch://x/y"], "error: storage must be a folder or a URI"),
    ],
)
def test_a_mistake_is_one_clear_error(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    done = howcompact(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert complaint in done.stderr
    assert all(line.startswith("error: ") for line in done.stderr.splitlines())
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_refuses_as_this_process_does(tmp_path: Path) -> None:
    done, here = (call("catalog", "polices", cwd=tmp_path) for call in (installed, howcompact))
    assert (done.returncode, done.stdout, done.stderr) == (here.returncode, here.stdout, here.stderr)


def test_help_loads_nothing_heavy() -> None:
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "search.cli", "--help"], capture_output=True, text=True
    )
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in told.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"torch", "ray", "mlflow", "optuna", "numpy", "pandas", "matplotlib", "pyarrow"}


def test_the_catalog_lists_every_kind(tmp_path: Path) -> None:
    told = json.loads(howcompact("catalog", "--json", cwd=tmp_path).stdout)["catalog"]
    assert set(told) == {
        *("models", "datasets", "criteria", "granularities", "policies", "schedules", "recoveries", "optimizers"),
        *("curricula", "pacings", "measures", "schedulers", "samplers", "devices", "spaces", "studies"),
    }
    assert {"vgg16", "resnet20", "resnet32", "resnet56", "mobilenet", "small_cnn", "resnet50"} <= set(told["models"])
    assert {"magnitude", "random", "l1", "l2"} <= set(told["criteria"])
    assert all(about for entries in told.values() for about in entries.values())
    policies = howcompact("catalog", "policies", cwd=tmp_path).stdout
    assert "not the paper" in policies or "Reading C1" in policies


@pytest.mark.parametrize("granularity", ["weight", "channel"])
@pytest.mark.parametrize("budget", ["params", "macs"])
def test_allocate_tells_what_each_layer_keeps(tmp_path: Path, granularity: str, budget: str) -> None:
    options = ("--policy", "erk", "--sparsity", "0.9", "--granularity", granularity, "--budget", budget, "--json")
    told = json.loads(howcompact("allocate", "resnet20", *options, cwd=tmp_path).stdout)
    assert (told["policy"], told["sparsity"], told["budget"]) == ("erk", 0.9, budget)
    assert sum(layer["keep"] for layer in told["layers"]) == told["params_kept"]
    assert sum(layer["macs"] for layer in told["layers"]) == told["macs_kept"]
    for layer in told["layers"]:
        assert 0 < layer["keep"] <= layer["size"]
        assert layer["density"] == layer["keep"] / layer["size"]
    dense = {"params": sum(layer["size"] for layer in told["layers"]), "macs": 40_551_040}[budget]
    spent = told[f"{budget}_kept"]
    assert spent <= round(0.1 * dense)
    assert spent >= (0.0999 if granularity == "weight" else 0.09) * dense
    if (granularity, budget) == ("weight", "params"):
        assert spent == round(0.1 * dense)


def test_allocate_takes_a_checkpoint(small_run: Run, tmp_path: Path) -> None:
    small_run.json_of("best", str(small_run.folder), "--policy", "uniform", "--out", str(tmp_path / "net"))
    told = small_run.json_of("allocate", str(tmp_path / "net"), "--policy", "uniform", "--sparsity", "0.5")
    assert {round(layer["density"], 1) for layer in told["layers"]} == {0.5}
    options = ("--policy", "capacity", "--sparsity", "0.9")
    regimes = ((), ("--compensate",), ("--finetune", "0.05"))
    broken, repaired, trained = (small_run.json_of("allocate", str(tmp_path / "net"), *options, *r) for r in regimes)
    assert broken["params_kept"] == repaired["params_kept"] == trained["params_kept"]
    assert broken["layers"] != repaired["layers"]  # what a layer can lose is another question once others repair it


def test_allocate_measures_a_checkpoint_for_a_policy_that_needs_its_profile(small_run: Run, tmp_path: Path) -> None:
    small_run.json_of("best", str(small_run.folder), "--policy", "erk", "--out", str(tmp_path / "net"))
    options = ("--policy", "capacity-functional", "--sparsity", "0.5")
    told = small_run.json_of("allocate", str(tmp_path / "net"), *options)
    assert told["params_kept"] == round(0.5 * sum(layer["size"] for layer in told["layers"]))
    by_name = howcompact("allocate", "resnet20", *options, cwd=tmp_path)
    assert by_name.returncode == 2
    assert "must measure a trained network" in by_name.stderr


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(trained: StudyFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    study = trained.folder.uri
    commands = (
        ["compare", study],
        ["best", study],
        ["best", study, "--pareto"],
        ["profile", "none"],
        ["probe", "none"],
    )
    for command in commands:
        for out in ("file", "file/below", "file/further/below", "s3://bucket/x"):
            done = howcompact(*command, "--out", out, cwd=tmp_path)
            assert done.returncode == 2
            (line,) = done.stderr.splitlines()
            assert line.startswith("error: --out must be a "), (command, out)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "mine")]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody can make another")
def test_a_folder_that_nobody_can_make_is_one_line(trained: StudyFolder, tmp_path: Path) -> None:
    for command in ("compare", "best"):
        done = howcompact(command, trained.folder.uri, "--out", "/proc/p", cwd=tmp_path)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: --out must be a folder that can be written, but /proc/p")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["models=['__main__:net']"], "put the function into a file mymodel.py beside it, and name it mymodel:net"),
        (["resources.gpus=1", "resources.workers=9"], "but a trial asks for 9; set resources.gpus=auto"),
    ],
)
def test_what_cannot_run_is_refused_before_ray_starts(tmp_path: Path, settings: list[str], complaint: str) -> None:
    done = howcompact("run", "digits", "--set", "tracking=off", *settings, cwd=tmp_path)
    assert done.returncode == 2
    assert [line.startswith("error: ") for line in done.stderr.splitlines()] == [True]
    assert complaint in done.stderr
    assert not (tmp_path / "howcompact-runs" / "digits").exists()


def test_an_unreadable_study_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").symlink_to("own.yaml")
    done = howcompact("run", "own.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("storage", ["s3:/bucket", "s3:bucket", "S3:/bucket", "gs:/b/x", "s3//b", "file:/x", "odd:/x"])
def test_a_misspelt_uri_is_no_folder(tmp_path: Path, storage: str) -> None:
    for command in (["run", "digits", "--storage", storage], ["compare", f"{storage}/digits"]):
        done = howcompact(*command, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith("error: storage must be a folder or a URI such as s3://bucket/studies, but got")
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_that_of_the_installed_package(tmp_path: Path) -> None:
    assert howcompact("--version", cwd=tmp_path).stdout == f"howcompact {version('howcompact')}\n"


def test_the_shell_completes_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")  # a test may have no shell above it
    script = installed("--show-completion", "bash", cwd=tmp_path).stdout
    assert "complete -o default -F _howcompact_completion howcompact" in script
    call = f"COMP_WORDS=(howcompact comp) COMP_CWORD=1; _howcompact_completion {COMMAND}; echo ${{COMPREPLY[@]}}"
    code = f"{script}\n{call}"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True)
    assert done.stdout == "compare\n", done.stderr


@pytest.mark.parametrize("variable", ["RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"])
def test_submit_takes_the_address_from_rays_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv(variable, address)
    done = howcompact("submit", "digits", "--storage", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: address must answer, but {address} does not")


def test_quiet_and_verbose_stand_anywhere_and_not_together(
    trained: StudyFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained.folder.parent.uri, folder)
    study = StudyFolder.open(str(folder / trained.folder.name))
    study.write_table()
    verify = ("verify", study.folder.uri, "--sample", "1")
    capfd.readouterr()
    normal = howcompact(*verify, cwd=tmp_path)
    assert "networks measured again: 1 of 1" in capfd.readouterr().err
    for words in (("-q", *verify), (*verify, "--quiet"), (*verify, "--json", "-q")):
        quiet = howcompact(*words, cwd=tmp_path)
        assert (quiet.returncode, quiet.stderr, capfd.readouterr().err) == (0, "", "")
        assert "--json" in words or quiet.stdout == normal.stdout
    both = howcompact("-q", *verify, "--verbose", cwd=tmp_path)
    assert both.returncode == 2
    assert both.stderr.endswith("error: --quiet must come without --verbose, but both are given; drop one\n")


def test_a_verbose_error_has_its_traceback_before_it_and_no_secrets(tmp_path: Path) -> None:
    for words in (("-v", "status"), ("status", "--verbose")):
        ended = howcompact(*words, "https://user:geheim@host/study", cwd=tmp_path)
        lines = ended.stderr.splitlines()
        assert ended.returncode == 2
        assert lines[0] == "Traceback (most recent call last):"
        assert [line.startswith("error: ") for line in lines] == [*[False] * (len(lines) - 1), True]
        assert "geheim" not in ended.stderr
    plain = howcompact("status", "nowhere", cwd=tmp_path)
    assert plain.stderr.startswith("error: ")
