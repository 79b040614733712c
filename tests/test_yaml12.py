import pytest

from carvana.base import yaml12


def test_numbers_are_those_of_yaml_12():
    assert yaml12.parse("a: 1e-05\nb: 010\nc: [yes]\n") == {"a": 0.00001, "b": 10, "c": ["yes"]}


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "a: &a {b: *a}",
        "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))]),
    ],
)
def test_content_without_an_end_is_refused(text):
    with pytest.raises(ValueError, match="it has more than 100000 values, or refers to itself"):
        yaml12.parse(text)
