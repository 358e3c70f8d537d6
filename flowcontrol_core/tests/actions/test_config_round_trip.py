"""What is typed into a form is stored canonically, and read back as it was meant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django import forms
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.files.uploadedfile import SimpleUploadedFile, UploadedFile
from django.utils import timezone, translation
from django.utils.datastructures import MultiValueDict
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol_core.actions.config import initial_values, read_config, to_stored, unknown_fields
from flowcontrol_core.errors import ConfigError
from tests.cases import each
from tests.shop.models import Customer, Voucher

BERLIN, KOLKATA = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata")
ID = "0b5f7f5c-1f0e-4a3b-9d3e-0d1f6d2c7a11"


class Size(str, Enum):  # noqa: UP042 - its str() is its name, that of a StrEnum is not
    SMALL = "s"
    LARGE = "l"


class Level(IntEnum):
    LOW = 1


def form_of(field: forms.Field) -> type[forms.Form]:
    return type("OneField", (forms.Form,), {"value": field})


def typed(
    form_class: type[forms.Form], data: Any, language: str = "en", zone: Any = UTC
) -> dict[str, Any]:
    """Type values into a form, in the language and zone of an editor, and give what is stored."""
    sent = data if isinstance(data, Mapping) else {"value": data}
    with translation.override(language), timezone.override(zone):
        form = form_class(data=sent)
        assert form.is_valid(), form.errors
        stored = to_stored(form)
    again: dict[str, Any] = json.loads(json.dumps(stored, allow_nan=False))
    assert again == stored
    return stored


def as_text(value: Any) -> Any:
    """Return what a browser shows as chosen."""
    return [str(item) for item in value] if isinstance(value, list) else str(value)


CASES: list[tuple[forms.Field, Any, Any, Any]] = [
    (forms.CharField(), " Grüße ", "Grüße", "Grüße"),
    (forms.CharField(required=False), "", "", ""),
    (forms.IntegerField(), "42", 42, 42),
    (forms.IntegerField(required=False), "", None, None),
    (forms.FloatField(), "1.5", 1.5, 1.5),
    (forms.DecimalField(), "1234.50", "1234.50", Decimal("1234.50")),
    (forms.DecimalField(), "1E+3", "1000", Decimal(1000)),
    (forms.BooleanField(required=False), "on", True, True),
    (forms.BooleanField(required=False), {}, False, False),
    (forms.NullBooleanField(), "true", True, True),
    (forms.NullBooleanField(), "false", False, False),
    (forms.NullBooleanField(), "unknown", None, None),
    (forms.DateField(), "2026-12-31", "2026-12-31", date(2026, 12, 31)),
    (forms.DateField(required=False), "", None, None),
    (forms.TimeField(), "09:30", "09:30:00", time(9, 30)),
    (
        forms.DateTimeField(),
        "2026-12-31 10:00",
        "2026-12-31T10:00:00+00:00",
        datetime(2026, 12, 31, 10, tzinfo=UTC),
    ),
    (
        forms.SplitDateTimeField(),
        {"value_0": "2026-12-31", "value_1": "10:00"},
        "2026-12-31T10:00:00+00:00",
        datetime(2026, 12, 31, 10, tzinfo=UTC),
    ),
    (
        forms.DurationField(),
        "3 04:00:01.5",
        "P3DT04H00M01.500000S",
        timedelta(3, 4 * 3600 + 1, 500_000),
    ),
    (forms.DurationField(), "-1 00:00:00", "-P1DT00H00M00S", timedelta(-1)),
    (forms.ChoiceField(choices=[("a", "A")]), "a", "a", "a"),
    (
        forms.MultipleChoiceField(choices=[("a", "A"), ("b", "B")]),
        ["b", "a"],
        ["b", "a"],
        ["b", "a"],
    ),
    (forms.TypedChoiceField(choices=[(1, "A")], coerce=int), "1", 1, 1),
    (
        forms.TypedChoiceField(
            choices=[("", "-"), (1, "A")], coerce=int, empty_value=None, required=False
        ),
        "",
        None,
        None,
    ),
    (forms.TypedChoiceField(choices=[("s", "S")], coerce=Size), "s", "s", Size.SMALL),
    (
        forms.TypedChoiceField(choices=[(1, "1")], coerce=lambda value: Level(int(value))),
        "1",
        1,
        Level.LOW,
    ),
    (
        forms.TypedChoiceField(choices=[("1.50", "x")], coerce=Decimal),
        "1.50",
        "1.50",
        Decimal("1.50"),
    ),
    (forms.TypedMultipleChoiceField(choices=[(1, "A"), (2, "B")], coerce=int), ["2"], [2], [2]),
    (forms.JSONField(), '{"a": [1, null]}', {"a": [1, None]}, {"a": [1, None]}),
    (forms.JSONField(), '"text"', "text", "text"),
    (forms.JSONField(), '"1"', "1", "1"),
    (forms.JSONField(), "1.0", 1.0, 1.0),
    (forms.JSONField(), "false", False, False),
    (forms.JSONField(required=False), "{}", {}, {}),
    (forms.JSONField(required=False), "[]", [], []),
    (forms.JSONField(required=False), "null", None, None),
    (forms.UUIDField(), ID, ID, UUID(ID)),
    (
        forms.URLField(assume_scheme="https"),
        "https://a.example/x",
        "https://a.example/x",
        "https://a.example/x",
    ),
    (forms.EmailField(), "a@example.com", "a@example.com", "a@example.com"),
    (forms.SlugField(), "a-b", "a-b", "a-b"),
    (forms.GenericIPAddressField(), "::FFFF", "::ffff", "::ffff"),
    (forms.RegexField(r"\d+"), "12", "12", "12"),
]


@each(
    ("field", "text", "stored", "value"),
    CASES,
)
@each("language", ["en", "de"])
def test_each_type_of_field_is_stored_as_json_and_comes_back(
    field: forms.Field, text: Any, stored: Any, value: Any, language: str
) -> None:
    form_class = form_of(field)
    with translation.override(language):
        assert typed(form_class, text) == {"value": stored}
        read = read_config(form_class, {"value": stored}, BERLIN)
        assert read == {"value": value}
        assert type(read["value"]) is type(value) or isinstance(read["value"], str | datetime)
        # Opening and saving it once more in the editor changes nothing either.
        shown = initial_values(form_class, {"value": stored}, BERLIN)["value"]
        assert shown in (value, stored) or as_text(shown) == as_text(stored)


def test_german_input_means_the_same_to_a_reader_of_english(settings: Any) -> None:
    settings.USE_THOUSAND_SEPARATOR = True

    class Order(forms.Form):
        total = forms.DecimalField(localize=True)
        rate = forms.FloatField(localize=True)
        count = forms.IntegerField(localize=True)
        day = forms.DateField()
        at_time = forms.TimeField()

    german = {
        "total": "1.234,5",
        "rate": "0,25",
        "count": "12.000",
        "day": "31.12.2026",
        "at_time": "18:05",
    }
    stored = typed(Order, german, language="de")
    assert stored == {
        "total": "1234.5",
        "rate": 0.25,
        "count": 12000,
        "day": "2026-12-31",
        "at_time": "18:05:00",
    }
    for language in ("en", "de", "fr", "ar"):
        with translation.override(language):
            assert read_config(Order, stored, UTC) == {
                "total": Decimal("1234.5"),
                "rate": 0.25,
                "count": 12000,
                "day": date(2026, 12, 31),
                "at_time": time(18, 5),
            }


@pytest.mark.parametrize("stored", ["1234.500", "1.234"])
def test_the_separators_of_the_settings_do_not_matter_either(settings: Any, stored: str) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    settings.THOUSAND_SEPARATOR = "."
    settings.DECIMAL_SEPARATOR = ","
    form_class = form_of(forms.DecimalField(localize=True))
    assert read_config(form_class, {"value": stored}, UTC) == {"value": Decimal(stored)}


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        (forms.DateField(input_formats=["%d/%m/%y"]), "31/12/26", date(2026, 12, 31)),
        (forms.TimeField(input_formats=["%Hh"]), "9h", time(9)),
        (
            forms.DateTimeField(input_formats=["%d/%m/%y %Hh"]),
            "31/12/26 9h",
            datetime(2026, 12, 31, 9, tzinfo=UTC),
        ),
    ],
)
def test_a_field_with_formats_of_its_own_reads_what_was_stored(
    field: forms.Field, text: str, value: Any
) -> None:
    form_class = form_of(field)
    assert read_config(form_class, typed(form_class, text), UTC) == {"value": value}


DATETIMES = [
    (forms.DateTimeField(), lambda day, hour: f"{day} {hour}"),
    (forms.SplitDateTimeField(), lambda day, hour: {"value_0": day, "value_1": hour}),
]


@pytest.mark.parametrize(("field", "data"), DATETIMES, ids=["DateTime", "SplitDateTime"])
def test_a_datetime_is_the_same_whatever_the_zone_of_the_editor_and_shows_the_flows_clock(
    field: forms.Field, data: Any
) -> None:
    form_class = form_of(field)
    in_berlin = typed(form_class, data("2026-07-01", "12:00"), zone=BERLIN)
    in_kolkata = typed(form_class, data("2026-07-01", "15:30"), zone=KOLKATA)
    assert in_berlin == in_kolkata == {"value": "2026-07-01T10:00:00+00:00"}
    read = read_config(form_class, in_kolkata, BERLIN)["value"]
    assert (read.hour, read.utcoffset()) == (12, timedelta(hours=2))


@pytest.mark.parametrize(("field", "data"), DATETIMES, ids=["DateTime", "SplitDateTime"])
@pytest.mark.parametrize("hour", ["00:30", "01:30"])
def test_a_datetime_in_the_hour_that_comes_twice_in_the_flows_zone_is_kept(
    field: forms.Field, data: Any, hour: str
) -> None:
    form_class = form_of(field)
    stored = typed(form_class, data("2026-10-25", hour), zone=UTC)
    read = read_config(form_class, stored, BERLIN)["value"]
    assert (read.hour, read.minute) == (2, 30)
    assert read.astimezone(UTC).strftime("%H:%M") == hour
    assert initial_values(form_class, stored, BERLIN)["value"] == read


@pytest.mark.parametrize(("field", "data"), DATETIMES, ids=["DateTime", "SplitDateTime"])
def test_an_hour_that_does_not_exist_is_refused_while_typing(field: forms.Field, data: Any) -> None:
    sent = data("2026-03-29", "02:30")
    with timezone.override(BERLIN):
        form = form_of(field)(data=sent if isinstance(sent, dict) else {"value": sent})
        assert not form.is_valid()


def test_a_datetime_without_zone_is_one_of_the_flows_zone() -> None:
    form_class = form_of(forms.DateTimeField())
    read = read_config(form_class, {"value": "2026-07-01T12:00:00"}, BERLIN)["value"]
    assert read.astimezone(UTC) == datetime(2026, 7, 1, 10, tzinfo=UTC)


@given(st.datetimes(datetime(1950, 1, 1), datetime(2090, 1, 1), timezones=st.timezones()))
def test_every_datetime_is_read_back_in_every_zone(value: datetime) -> None:
    for field in (forms.DateTimeField(), forms.SplitDateTimeField()):
        form = form_of(field)()
        form.cleaned_data = {"value": value}
        stored = to_stored(form)
        for zone in (UTC, BERLIN, KOLKATA):
            read = read_config(type(form), stored, zone)["value"]
            assert read.astimezone(UTC) == value.astimezone(UTC)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4) | st.decimals(-1000, 1000))
def test_every_decimal_is_read_back(number: Decimal) -> None:
    form = form_of(forms.DecimalField())()
    form.cleaned_data = {"value": number}
    assert read_config(type(form), to_stored(form), UTC) == {"value": number}


# References.


@pytest.mark.django_db
def test_a_reference_is_stored_by_natural_key_where_the_model_has_one() -> None:
    content_type = ContentType.objects.get_for_model(Customer)
    permission = Permission.objects.get(content_type=content_type, codename="add_customer")
    form_class = form_of(forms.ModelChoiceField(Permission.objects.all()))
    stored = typed(form_class, str(permission.pk))
    assert stored == {"value": ["add_customer", "shop", "customer"]}
    assert read_config(form_class, stored, UTC) == {"value": permission}
    assert initial_values(form_class, stored, UTC) == {"value": permission.pk}


@pytest.mark.django_db
def test_a_reference_is_stored_by_primary_key_where_the_model_has_no_natural_key() -> None:
    customer = Customer.objects.create(name="Ada")
    form_class = form_of(forms.ModelChoiceField(Customer.objects.all()))
    stored = typed(form_class, str(customer.pk))
    assert stored == {"value": str(customer.pk)}
    assert read_config(form_class, stored, UTC) == {"value": customer}
    voucher = Voucher.objects.create(code="A B")
    form_class = form_of(forms.ModelChoiceField(Voucher.objects.all()))
    assert read_config(form_class, typed(form_class, "A B"), UTC) == {"value": voucher}


@pytest.mark.django_db
def test_a_reference_by_a_field_of_its_own_is_stored_by_that() -> None:
    customer = Customer.objects.create(name="Ada", email="ada@example.com")
    fields = [
        forms.ModelChoiceField(Customer.objects.all(), to_field_name="email"),
        forms.ModelMultipleChoiceField(Customer.objects.all(), to_field_name="email"),
    ]
    one, several = map(form_of, fields)
    stored = typed(one, "ada@example.com")
    assert stored == {"value": "ada@example.com"}
    assert read_config(one, stored, UTC) == {"value": customer}
    stored = typed(several, ["ada@example.com"])
    assert stored == {"value": ["ada@example.com"]}
    assert list(read_config(several, stored, UTC)["value"]) == [customer]


@pytest.mark.django_db
def test_several_references_are_stored_in_an_order_of_their_own() -> None:
    groups = [Group.objects.create(name=name) for name in ("b", "c", "a")]
    form_class = form_of(forms.ModelMultipleChoiceField(Group.objects.order_by("-pk")))
    stored = typed(form_class, {"value": [str(group.pk) for group in groups]})
    assert stored == {"value": [["a"], ["b"], ["c"]]}
    assert set(read_config(form_class, stored, UTC)["value"]) == set(groups)
    assert set(initial_values(form_class, stored, UTC)["value"]) == {group.pk for group in groups}


@pytest.mark.django_db
@pytest.mark.parametrize("stored", [["gone"], ["a", "b", "c"], "77", "no key", [[]], 5])
def test_a_reference_to_what_does_not_exist_is_an_error_of_its_field(stored: Any) -> None:
    for model in (Group, Customer):
        form_class = form_of(forms.ModelChoiceField(model._default_manager.all()))
        with pytest.raises(ConfigError) as caught:
            read_config(form_class, {"value": stored}, UTC)
        assert list(caught.value.errors) == ["value"]
        initial_values(form_class, {"value": stored}, UTC)


# What is wrong.


def test_a_configuration_that_does_not_validate_names_the_fields() -> None:
    class Config(forms.Form):
        count = forms.IntegerField(max_value=3)
        name = forms.CharField()

    with translation.override("de"), pytest.raises(ConfigError) as caught:
        read_config(Config, {"count": 5}, UTC)
    assert caught.value.errors == {
        "count": ["Ensure this value is less than or equal to 3."],
        "name": ["This field is required."],
    }
    assert "count: Ensure this value" in str(caught.value)


@each(
    "field",
    [
        forms.DateField(),
        forms.TimeField(),
        forms.DateTimeField(),
        forms.SplitDateTimeField(),
        forms.DecimalField(),
        forms.IntegerField(),
        forms.DurationField(),
        forms.UUIDField(),
        forms.MultipleChoiceField(choices=[("a", "A")]),
    ],
)
@each("stored", ["nonsense", 5, True])
def test_a_stored_value_of_the_wrong_kind_is_an_error_or_readable_never_a_crash(
    field: forms.Field, stored: Any
) -> None:
    form_class = form_of(field)
    with suppress(ConfigError):
        read_config(form_class, {"value": stored}, UTC)
    initial_values(form_class, {"value": stored}, UTC)


def test_a_form_that_fails_is_an_error_of_the_configuration() -> None:
    class Config(forms.Form):
        def clean(self) -> dict[str, Any]:
            raise KeyError("oops")

    with pytest.raises(ConfigError, match="form of the configuration failed: KeyError: 'oops'"):
        read_config(Config, {}, UTC)


def test_rules_of_the_form_as_a_whole_are_applied_when_it_is_read() -> None:
    class Config(forms.Form):
        low = forms.IntegerField()
        high = forms.IntegerField()

        def clean(self) -> dict[str, Any]:
            if self.cleaned_data["low"] > self.cleaned_data["high"]:
                raise forms.ValidationError("Low is above high.")
            return self.cleaned_data

    assert read_config(Config, {"low": 1, "high": 2}, UTC) == {"low": 1, "high": 2}
    with pytest.raises(ConfigError, match="__all__: Low is above high"):
        read_config(Config, {"low": 2, "high": 1}, UTC)


def test_a_disabled_field_keeps_what_is_stored() -> None:
    form_class = form_of(forms.CharField(disabled=True))
    assert read_config(form_class, {"value": "kept"}, UTC) == {"value": "kept"}


def test_what_has_no_canonical_form_is_refused_with_what_to_do() -> None:
    form = form_of(forms.TypedChoiceField(choices=[("1", "1")], coerce=complex))({"value": "1"})
    assert form.is_valid()
    with pytest.raises(ConfigError, match=r"A complex cannot be stored .* to_stored\(\)"):
        to_stored(form)


def test_a_file_is_refused() -> None:
    upload: UploadedFile[Any] = SimpleUploadedFile("a.txt", b"a")
    form = form_of(forms.FileField())({}, MultiValueDict({"value": [upload]}))
    assert form.is_valid()
    with pytest.raises(ConfigError, match="A file cannot be part of a configuration"):
        to_stored(form)


def test_a_field_may_store_its_values_in_its_own_way() -> None:
    class Pair(forms.CharField):
        def to_stored(self, value: str) -> list[str]:
            return value.split("-")

        def from_stored(self, stored: list[str]) -> str:
            return "-".join(stored)

    form_class = form_of(Pair())
    assert typed(form_class, "a-b") == {"value": ["a", "b"]}
    assert read_config(form_class, {"value": ["a", "b"]}, UTC) == {"value": "a-b"}
    assert initial_values(form_class, {"value": ["a", "b"]}, UTC) == {"value": "a-b"}
    assert initial_values(form_class, {"value": 5}, UTC) == {"value": 5}


def test_a_field_of_several_parts_comes_back_through_its_widget() -> None:
    class Range(forms.MultiWidget):
        def decompress(self, value: str | None) -> list[str]:
            return value.split("..") if value else []

    class RangeField(forms.MultiValueField):
        def __init__(self) -> None:
            parts = [forms.IntegerField(), forms.IntegerField()]
            super().__init__(parts, widget=Range([part.widget for part in parts]))

        def compress(self, data_list: list[int]) -> str:
            return "..".join(map(str, data_list))

    form_class = form_of(RangeField())
    stored = typed(form_class, {"value_0": "1", "value_1": "5"})
    assert stored == {"value": "1..5"}
    assert read_config(form_class, stored, UTC) == {"value": "1..5"}


def test_values_without_a_field_are_named_and_ignored() -> None:
    form_class = form_of(forms.CharField())
    assert unknown_fields(form_class, ["value", "old", "gone"]) == ["gone", "old"]
    assert read_config(form_class, {"value": "x", "old": 1}, UTC) == {"value": "x"}
