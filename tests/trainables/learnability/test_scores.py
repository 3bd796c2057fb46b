"""Scores come from the right network or table, and are refused for other samples."""

from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainables.trials import CPU, DENSE, WEIGHT, make_shared, without_times
from trainables.catalog.checks import conflicts
from trainables.checkpoints import artifact_store
from trainables.curriculum_spec import Curriculum
from trainables.data import sources
from trainables.data.splits import Split, Splits
from trainables.learnability.curriculum_kinds import control_of, label_of
from trainables.learnability.records import read_records
from trainables.learnability.scores import draw_by, scores
from trainables.recipe import Recipe
from trainables.storage.folder import Folder
from trainables.training.recorder import SAMPLES
from trainables.trial.trainable import run_trial

EASY = Curriculum(name="easy-first", balanced=False)
OTHER = EASY.model_copy(update={"network": "resnet20", "measure": "aum"})
OWN = """
import torch
from trainables.data.batches import Drawn


def hits(records):
    return 2 * records.hits.mean(axis=0)


def easiest(context):
    first = torch.from_numpy(context.order[:100])
    return lambda epoch: Drawn(first.repeat(len(context.order))[: len(context.order)])
"""
SHORT = DENSE.model_copy(update={"recipe": Recipe(epochs=2, lr=0.05, batch_size=64)})


@pytest.fixture(scope="module")
def splits() -> Splits:
    return sources.load(SHORT.data)


@pytest.fixture(scope="module")
def storage(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    storage = Folder.at(str(tmp_path_factory.mktemp("storage")))
    trial = WEIGHT.model_copy(update={"dense": SHORT})
    make_shared([trial.model_copy(update={"curriculum": each}) for each in (EASY, OTHER)], splits, storage)
    return storage


def some(split: Split, chosen: slice) -> Split:
    return Split(split.images[chosen], split.labels[chosen], split.ids[chosen])


@pytest.mark.parametrize("curriculum", [EASY, OTHER], ids=["own", "another"])
def test_each_sample_has_its_own_score(curriculum: Curriculum, splits: Splits, storage: Folder) -> None:
    scorer = artifact_store.find(storage, "dense", SHORT.scored_by(curriculum).key())
    assert scorer is not None
    records = read_records(scorer)
    easy = records.hits.mean(axis=0) if curriculum.measure == "learnability" else records.margins.mean(axis=0)
    by_id = dict(zip(records.ids.tolist(), easy.tolist(), strict=True))
    scored = scores(curriculum, SHORT, splits.train, storage)
    np.testing.assert_allclose(scored, [by_id[sample] for sample in splits.train.ids.tolist()], rtol=1e-6)


def test_a_table_is_averaged_over_its_networks_and_seeds(splits: Splits, storage: Folder, tmp_path: Path) -> None:
    ids = splits.train.ids
    rows = {"id": np.concatenate([ids, ids[::-1]]), "forgetting": np.arange(600.0)}
    pq.write_table(pa.table(rows), tmp_path / SAMPLES)
    by_table = Curriculum(name="easy-first", measure="forgetting", table=str(tmp_path / SAMPLES))
    expected = -(np.arange(300) + np.arange(600)[::-1][:300]) / 2  # samples that are forgotten often are hard
    np.testing.assert_allclose(scores(by_table, SHORT, splits.train, storage), expected)
    wrong = by_table.model_copy(update={"measure": "aum"})
    with pytest.raises(ValueError, match=r"curriculum\.table must be samples\.parquet .* with a column 'aum', but "):
        scores(wrong, SHORT, splits.train, storage)
    nowhere = by_table.model_copy(update={"table": str(tmp_path / "nowhere.parquet")})
    with pytest.raises(ValueError, match=r"curriculum\.table must be samples\.parquet"):
        scores(nowhere, SHORT, splits.train, storage)


def test_scores_of_other_samples_are_refused_with_their_number(splits: Splits, storage: Folder) -> None:
    foreign = Split(
        splits.train.images, splits.train.labels, np.where(np.arange(300) < 7, 10_000, 0) + splits.train.ids
    )
    with pytest.raises(ValueError, match=r"\b7 of 300\b"):
        scores(EASY, SHORT, foreign, storage)


def test_a_measure_and_a_curriculum_of_the_users_own_score_and_draw(
    splits: Splits, storage: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_curriculum.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    own = EASY.model_copy(update={"name": "own_curriculum:easiest", "measure": "own_curriculum:hits"})
    trial = WEIGHT.model_copy(update={"dense": SHORT, "curriculum": own})
    assert conflicts(trial) == []
    assert np.array_equal(scores(own, SHORT, splits.train, storage), 2 * scores(EASY, SHORT, splits.train, storage))
    drawn = draw_by(own, SHORT, splits, storage, epochs=2, batch_size=64)(1)
    assert drawn is not None
    easy = scores(EASY, SHORT, splits.train, storage)
    positions = np.unique(drawn.index.numpy())
    assert len(positions) == 100
    assert easy[positions].min() >= np.delete(easy, positions).max()
    whole, broken = storage / "own", storage / "own-broken"
    reports = list(run_trial(trial, splits, storage, whole, CPU))
    list(islice(run_trial(trial, splits, storage, broken, CPU), 2))
    assert without_times(list(run_trial(trial, splits, storage, broken, CPU))) == without_times(reports)
    by_table = trial.model_copy(update={"curriculum": own.model_copy(update={"table": str(tmp_path)})})
    (told,) = conflicts(by_table)
    assert "must read a measure of the catalog from its table, but got 'own_curriculum:hits'" in told
    control = control_of(own)
    assert control is not None
    assert (control.name, control.shuffled) == (own.name, True)
    code = "own_curriculum:easiest 0123456789abcdef, own_curriculum:hits fedcba9876543210"
    label = label_of(own.model_copy(update={"code": code}))
    assert label == "own_curriculum:easiest-01234567, measure own_curriculum:hits-fedcba98, unbalanced"


def test_training_goes_by_the_scores(splits: Splits, storage: Folder) -> None:
    easy = scores(EASY, SHORT, splits.train, storage)
    draw = draw_by(EASY, SHORT, splits, storage, epochs=20, batch_size=64)
    first = draw(0)
    assert first is not None
    assert easy[first.index[:64].numpy()].min() >= np.sort(easy)[-256]  # the pool begins with 256 of 300
    assert draw_by(Curriculum(), SHORT, splits, storage, 2, 64)(0) is None


def test_a_dense_network_learns_by_a_curriculum_that_a_plain_one_scores(splits: Splits, tmp_path: Path) -> None:
    dropping = Curriculum(name="drop-hardest", fraction=0.5, phase="dense")
    trial = WEIGHT.model_copy(update={"dense": SHORT.model_copy(update={"curriculum": dropping})})
    storage = Folder.at(str(tmp_path))
    make_shared([trial], splits, storage)
    by_curriculum = artifact_store.find(storage, "dense", trial.dense.key())
    plain = artifact_store.find(storage, "dense", SHORT.key())
    assert by_curriculum is not None
    assert plain is not None
    easy = read_records(plain)
    kept = np.isin(easy.ids, read_records(by_curriculum).ids)
    assert kept.sum() == 150
    learnt = easy.hits.mean(axis=0)
    for label in range(10):
        of_class = easy.labels == label
        assert learnt[of_class & kept].min() >= learnt[of_class & ~kept].max()
    final = list(run_trial(trial, splits, storage, storage / "trial", CPU))[-1]
    assert final.images == 300 + 90
