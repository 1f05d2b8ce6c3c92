import pytest

from pipeline.model.platforms import PLATFORMS, platform_name


def test_there_are_the_vendors_sixteen_platforms_and_web_and_no_number_is_given_twice() -> None:
    codes = [code for code in PLATFORMS.values() if code is not None]

    assert len(PLATFORMS.keys() - {"Web"}) == 16
    assert PLATFORMS["Web"] is None
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("name", list(PLATFORMS))
def test_a_display_name_and_its_number_are_the_same_platform(name: str) -> None:
    code = PLATFORMS[name]

    assert platform_name(name) == name
    if code is not None:
        assert platform_name(code) == name
        assert platform_name(str(code)) == name


def test_sms_is_18() -> None:
    assert platform_name("18") == "SMS"


@pytest.mark.parametrize("value", [0, -1, 2, 99, "", "None", " iOS", "1.0", "01", True, 1.0, None, [], b"iOS"])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a platform"):
        platform_name(value)  # type: ignore[arg-type]


def test_a_near_miss_is_told_what_was_probably_meant() -> None:
    with pytest.raises(ValueError, match=r"'emial' is not a platform; did you mean Email\?"):
        platform_name("emial")


def test_a_huge_value_is_not_repeated_in_the_message() -> None:
    with pytest.raises(ValueError, match="is not a platform") as caught:
        platform_name("x" * 1_000_000)

    assert len(str(caught.value)) < 300
