import pytest

from example_project.shop.templatetags.shop import size


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_307, "1.3 kB"),
        (20_000_008, "20 MB"),
        (500_000_000, "500 MB"),
        (1_234_500_000, "1,234.5 MB"),
    ],
)
def test_a_size_is_told_in_units_of_a_thousand(count, words):
    assert size(count) == words
