"""The lists of class names are whole and in the order of the checkpoints that use them."""

import pytest

from models.class_list import CLASSES_OF, class_list, list_of_size, numbered


@pytest.mark.parametrize("name", CLASSES_OF)
def test_each_list_is_whole(name: str) -> None:
    classes = class_list(name)
    assert len(classes) == len(set(classes)) == CLASSES_OF[name]
    assert all(each == each.strip() and each for each in classes)
    assert list_of_size(len(classes)) == name


def test_ucf101_has_the_order_of_its_class_index() -> None:
    classes = class_list("ucf101")
    assert classes.index("Hammering") == 34
    assert classes.index("HammerThrow") == 35
    assert classes.index("JumpingJack") == 46
    assert classes.index("JumpRope") == 47
    # The two pairs are all that differs from Python's order.
    assert sum(one != other for one, other in zip(classes, sorted(classes), strict=True)) == 4
    assert "HandstandPushups" in classes


@pytest.mark.parametrize("name", ["hmdb51", "kinetics400"])
def test_the_others_are_sorted(name: str) -> None:
    assert list(class_list(name)) == sorted(class_list(name))


def test_corners() -> None:
    assert class_list("kinetics400")[0] == "abseiling"
    assert class_list("kinetics400")[399] == "zumba"
    assert class_list("hmdb51")[50] == "wave"
    assert list_of_size(7) is None
    assert numbered(2) == ("class 0", "class 1")
    with pytest.raises(KeyError):
        class_list("../../etc/passwd")
