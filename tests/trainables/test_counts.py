from trainables.counts import noun, quantity


def test_a_count_has_the_noun_that_fits() -> None:
    assert [quantity(count, "trial") for count in (0, 1, 2, 2000)] == [
        "0 trials",
        "1 trial",
        "2 trials",
        "2,000 trials",
    ]
    assert [quantity(count, "trial has", "trials have") for count in (1, 3)] == ["1 trial has", "3 trials have"]
    assert [noun(count, "CPU") for count in (0.5, 1.0, 2.0)] == ["CPUs", "CPU", "CPUs"]
