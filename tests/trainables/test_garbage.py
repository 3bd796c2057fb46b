import gc
import subprocess
import sys
import weakref

import pytest

from trainables.garbage import uncollected


class Circle:
    def __init__(self) -> None:
        self.me = self


def test_no_garbage_is_collected_inside_and_what_is_left_is_skipped() -> None:
    frozen = gc.get_freeze_count()
    with uncollected():
        assert not gc.isenabled()
        kept = [Circle() for _ in range(1000)]
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen + len(kept)
    later = weakref.ref(Circle())
    gc.collect()
    assert later() is None
    gc.unfreeze()


def test_collection_goes_on_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), uncollected():
        1 / 0  # noqa: B018
    assert gc.isenabled()


def test_a_worker_that_has_imported_all_collects_garbage() -> None:
    script = (
        "import gc, sys, trainables.trial.preload; assert gc.isenabled(); assert 'trainables.trial.trainable' in "
        "sys.modules; assert not {'ray', 'scipy', 'pandas', 'sklearn', 'torchvision', 'torch._dynamo'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
