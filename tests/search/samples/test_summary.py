"""What the command tells of samples, prints, writes and draws, and that it trains what it lacks."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.stats import pearsonr
from sklearn.metrics import roc_auc_score

from search.results.folder import StudyFolder
from search.results.to_json import FORMAT
from search.samples.forgetting import STAGES
from search.samples.runs import SCHEMA
from search.samples.summary import Learnability
from search.study.reading import read_study
from tests.search.browser import CHROMIUM, Tab
from tests.search.conftest import howcompact, installed
from tests.search.in_process import run_in_process
from tests.search.report.test_page import LAID_OUT, OPEN, TEXTS, in_browser
from trainables.checkpoints import artifact_store
from trainables.data import sources
from trainables.learnability.measures import MEASURES
from trainables.learnability.records import Records, read_records
from trainables.spec import DenseSpec
from trainables.storage.folder import Folder

SETTINGS = (
    *("models=[small_cnn,resnet20]", "width=0.25", "data.max_train=200", "data.max_val=50", "data.label_noise=0.2"),
    *("dense.epochs=2", "dense.batch_size=32", "seeds=[0,1]", "policies=[uniform,random]", "sparsities=[0.8]"),
    *("finetune.epochs=1", "records.finetune=after", "tracking=off"),
)
STUDY = read_study("digits", [*SETTINGS, "search={}"])
COMMAND = ("learnability", "digits", "--storage", "runs", "--set", *SETTINGS, "search={}")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dense networks, and trials that start from them."""
    home = tmp_path_factory.mktemp("home")
    run_in_process(home / "runs", STUDY)
    return home


@pytest.fixture(scope="module")
def out(home: Path) -> Path:
    done = howcompact(*COMMAND, "--out", "page", cwd=home)
    assert done.returncode == 0, done.stderr
    (home / "printed").write_text(done.stdout)
    return home / "page"


@pytest.fixture(scope="module")
def found(out: Path) -> Learnability:
    content = json.loads((out / "learnability.json").read_text())
    assert content.pop("format") == FORMAT
    return Learnability.model_validate_json(json.dumps(content))


def recorded(home: Path, model: str, seed: int) -> Records:
    spec = next(c.dense for c in STUDY.cells() if (c.dense.model, c.seed) == (model, seed))
    folder = artifact_store.find(Folder.at(str(home / "runs")), "dense", spec.key())
    assert folder is not None
    return read_records(folder)


def test_the_table_of_samples_holds_every_measure_of_every_run(home: Path, out: Path) -> None:
    table = pq.read_table(out / "samples.parquet")
    assert all(field.metadata[b"description"] for field in table.schema)
    assert table.schema.names == SCHEMA.names
    metadata = json.loads(table.schema.metadata[b"learnability"])
    assert (metadata["study"], metadata["split"], metadata["taken"]) == ("digits", "train", "during")
    specs = [DenseSpec.model_validate(spec) for spec in metadata["networks"]]
    assert {(spec.model, spec.seed) for spec in specs} == {(m, s) for m in STUDY.models for s in (0, 1)}
    assert {spec.data for spec in specs} == {STUDY.data}
    rows = table.to_pandas()
    assert len(rows) == 4 * 200
    for spec in specs:
        own = rows[(rows.model == spec.model) & (rows.seed == spec.seed)]
        records = recorded(home, spec.model, spec.seed)
        assert (own.id.to_numpy() == records.ids).all()
        assert (own.label.to_numpy() == records.labels).all()
        assert own.learnability.to_numpy() == pytest.approx(records.hits.mean(axis=0))
        for name, measure in MEASURES.items():
            assert own[name].to_numpy() == pytest.approx(measure.of(records))


def test_networks_and_seeds_are_correlated_sample_by_sample(home: Path, found: Learnability) -> None:
    assert set(found.agreement) == set(MEASURES)
    each = {a.networks: a for a in found.agreement["aum"] if a.coefficient == "pearson"}
    assert set(each) == {("small_cnn", "resnet20"), ("small_cnn", "small_cnn"), ("resnet20", "resnet20")}
    one, other = (recorded(home, "resnet20", seed).margins.mean(axis=0) for seed in (0, 1))
    assert each["resnet20", "resnet20"].pairs == pytest.approx([pearsonr(one, other).statistic], abs=1e-6)
    means = [np.mean([recorded(home, m, s).margins.mean(axis=0) for s in (0, 1)], axis=0) for m in STUDY.models]
    both = each["small_cnn", "resnet20"]
    assert len(both.pairs) == 4
    assert both.means is not None
    assert both.means.value == pytest.approx(pearsonr(*means).statistic, abs=1e-6)


def test_flipped_labels_are_looked_for_among_the_hardest(home: Path, found: Learnability) -> None:
    assert found.noise is not None
    clean = sources.load(STUDY.data.model_copy(update={"label_noise": 0.0})).train
    truth = dict(zip(clean.ids.tolist(), clean.labels.tolist(), strict=True))
    records = [recorded(home, "resnet20", seed) for seed in (0, 1)]
    wrong = records[0].labels != [truth[number] for number in records[0].ids.tolist()]
    assert (found.noise.flipped, found.noise.samples) == (wrong.sum(), 200) == (40, 200)
    every = {(d.network, d.measure, d.seed): d for d in found.noise.detections}
    assert len(every) == 2 * len(MEASURES) * 3
    margins = [each.margins.mean(axis=0) for each in records]
    for seed, easy in {0: margins[0], 1: margins[1], None: np.mean(margins, axis=0)}.items():
        assert every["resnet20", "aum", seed].auc == pytest.approx(roc_auc_score(wrong, -easy))
        hardest = np.argsort(easy)[:40]
        assert every["resnet20", "aum", seed].precision == pytest.approx(wrong[hardest].mean())


def test_what_pruning_forgets_is_counted_on_what_was_right(home: Path, found: Learnability) -> None:
    folder = StudyFolder(Folder.at(str(home / "runs" / "digits")))
    rows = [r for r in folder.rows() if (r.model, r.policy) == ("resnet20", "uniform")]
    own = {f.stage: f for f in found.forgotten if (f.network, f.policy) == ("resnet20", "uniform")}
    assert {(f.treatment, f.sparsity, f.share.n) for f in own.values()} == {("weights by magnitude, finetune", 0.8, 2)}
    for place, stage in enumerate(STAGES):
        shares, areas = [], []
        for row in rows:
            dense, pruned = recorded(home, row.model, row.seed), read_records(folder.trial(row.trial))
            assert pruned.epochs.tolist() == [0, 1]
            right = dense.hits[-1]
            lost = ~pruned.hits[place][right]
            shares.append(lost.mean())
            areas.append(roc_auc_score(lost, -dense.hits.mean(axis=0)[right]))
        assert own[stage].share.mean == pytest.approx(np.mean(shares))
        area = own[stage].auc
        assert area is not None
        assert area.mean == pytest.approx(np.mean(areas))
    treatments = {(f.network, f.policy, f.measure) for f in found.found_again}
    assert treatments == {(n, p, m) for n in STUDY.models for p in ("uniform", "random") for m in MEASURES}


def test_the_command_prints_what_it_tells(home: Path, out: Path, found: Learnability) -> None:
    printed = (home / "printed").read_text()
    for each in found.agreement["learnability"]:
        if each.single:
            assert f"{each.single.value:.3f} ±{(each.single.high - each.single.low) / 2:.3f}" in printed
    for word in (
        "resnet20, other seed",
        "not over trainings",
        "published",
        "40 labels flipped",
        "What pruning forgets",
    ):
        assert word in printed
    assert max(map(len, printed.splitlines())) <= 130
    assert "…" not in printed  # no column is cut
    summary = json.loads(howcompact(*COMMAND, "--json", cwd=home).stdout)
    assert summary == json.loads((out / "learnability.json").read_text())


def test_figures_come_as_files(out: Path) -> None:
    for name in ("agreement", "learnability", "sheet", "noise", "forgotten"):
        ET.parse(out / f"{name}.svg")
        with Image.open(out / f"{name}.png") as picture:
            assert picture.width > 700
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    page = (out / "index.html").read_text()
    assert "<script" not in page
    assert "howcompact learnability digits" in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_a_telephone_shows_all_of_the_page(out: Path) -> None:
    async def look(tab: Tab) -> None:
        await tab.show(out / "index.html", 390, dark=True)
        await tab.evaluate(LAID_OUT)
        await tab.evaluate(OPEN)
        assert await tab.evaluate("document.documentElement.scrollWidth") <= 390
        wide = "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().right > innerWidth).length"
        assert await tab.evaluate(wide) == 0
        assert min(text["size"] for text in await tab.evaluate(TEXTS)) >= 8.5

    assert in_browser(look).complaints == []


def test_dense_networks_that_the_storage_lacks_are_trained(tmp_path: Path) -> None:
    few = ("models=[small_cnn]", "width=0.25", "data.max_train=100", "dense.epochs=1", "seeds=[0,1]", "tracking=off")
    done = installed("learnability", "digits", "--set", *few, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "dense networks trained: 2 of 2" in done.stderr
    printed = json.loads(done.stdout)
    assert printed.pop("format") == FORMAT
    found = Learnability.model_validate(printed)
    assert (found.samples, found.networks, found.forgotten) == (100, {"small_cnn": (0, 1)}, ())
    again = howcompact("learnability", "digits", "--set", *few, "--json", cwd=tmp_path)  # without Ray
    assert again.stdout == done.stdout


def test_without_records_there_is_nothing_to_tell(tmp_path: Path) -> None:
    done = howcompact("learnability", "digits", "--set", "records.dense=off", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: records.dense must be during or after for learnability, but got off")
