"""The names that the package promises."""

import inspect

import pytest

import multav


@pytest.mark.parametrize("name", multav.__all__)
def test_every_promised_name_is_there_and_explains_itself(name: str) -> None:
    promised = getattr(multav, name)
    assert promised.__name__ == name
    assert inspect.getdoc(promised)


def test_the_list_is_complete_and_sorted_for_the_reader() -> None:
    assert dir(multav) == sorted(multav.__all__)


def test_loading_a_module_never_hides_a_name() -> None:
    # A submodule named like a function would replace it as soon as something imports it.
    for name in multav.__all__:
        assert not inspect.ismodule(getattr(multav, name))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = multav.nothing
