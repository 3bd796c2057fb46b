import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from search.tracking.inbox import Events, Finished, Inbox, Point, as_points, flat

NAMES = st.text("abc", min_size=1, max_size=3)
NESTED = st.recursive(st.integers(), lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3), max_leaves=8)


@given(st.dictionaries(NAMES, NESTED, max_size=3))
def test_flat_settings_are_found_by_their_dotted_path(settings: dict[str, object]) -> None:
    def at(path: str) -> object:
        here: object = settings
        for name in path.split("."):
            assert isinstance(here, dict)
            here = here[name]
        return here

    flattened = flat(settings)
    assert all(str(at(path)) == text for path, text in flattened.items())
    assert len(flattened) == str(settings).count(": ") - str(settings).count(": {")


def test_flat_settings_keep_within_mlflows_limits() -> None:
    assert flat({"a": {"b=c": "x" * 7000}, "d": None, "e": {}, "f": [1, 2]}) == {
        "a.b_c": "x" * 6000,
        "d": "None",
        "e": "{}",
        "f": "[1, 2]",
    }
    assert list(flat({"n" * 300: 1})) == ["n" * 250]


def test_points_are_finite_numbers_only() -> None:
    metrics = {"a": 1, "b": math.nan, "c": math.inf, "d": np.float32(0.5), "e": None, "f": "0.1"}
    assert as_points(metrics, 3, 7) == [Point("a", 1.0, 3, 7), Point("d", 0.5, 3, 7)]  # type: ignore[arg-type]


def test_events_of_a_trial_are_taken_together_and_once() -> None:
    inbox = Inbox(100)
    inbox.add("a", Events(1, params={"p": "1"}))
    inbox.add("b", Events(2))
    inbox.add("a", Events(3, points=[Point("m", 0.5, 0, 3)]))
    inbox.add("a", Events(4, final={"end": 1.0}, tags={"t": "x"}, status="FAILED"))
    whole = Events(1, {"p": "1"}, [Point("m", 0.5, 0, 3)], {"end": 1.0}, {"t": "x"}, "FAILED")
    assert [inbox.take(), inbox.take(), inbox.take()] == [("a", whole), ("b", Events(2)), None]
    assert inbox.owed == {"a"}
    inbox.settle("a", whole=True)
    assert not inbox.owed


def test_news_of_a_running_trial_waits_for_its_end_or_its_time() -> None:
    inbox = Inbox(100)
    inbox.add("old", Events(10))
    inbox.add("ended", Events(50))
    inbox.add("running", Events(50))
    inbox.add("old", Events(60, params={"p": "1"}))
    inbox.add("ended", Events(70, status="FINISHED"))
    assert [inbox.take(before=20), inbox.take(before=20)] == [
        ("old", Events(10, params={"p": "1"})),
        ("ended", Events(50, status="FINISHED")),
    ]
    assert inbox.take(before=50) is None
    assert inbox.take(before=51) == ("running", Events(50))


def test_records_wait_until_they_are_settled() -> None:
    inbox = Inbox(100)
    assert not inbox.has_records
    inbox.add_records([Finished("a", {}, {}, {})])
    assert inbox.has_records
    inbox.records()
    assert inbox.has_records
    inbox.settle("a", whole=True)
    assert not inbox.has_records


def test_a_full_inbox_drops_what_waits_longest_and_says_so() -> None:
    inbox = Inbox(6)
    for step in range(2):
        for key in "ab":
            inbox.add(key, Events(0, points=[Point("m", 0.0, step, 0)]))
    assert not inbox.gaps  # two trials of two points: exactly full
    inbox.add("c", Events(0))
    assert inbox.gaps == {"a"}
    assert [taken[0] for taken in (inbox.take(), inbox.take()) if taken] == ["b", "c"]
    assert inbox.take() is None


def test_a_record_waits_until_it_is_settled() -> None:
    inbox, record = Inbox(10), Finished("a", {}, {}, {})
    inbox.add_records(iter([record]))
    assert inbox.records() == inbox.records() == [record]
    inbox.settle("a", whole=False)
    assert inbox.records() == []
    assert inbox.owed == {"a"}
