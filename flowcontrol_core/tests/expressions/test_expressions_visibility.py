"""What expressions see of model objects, and what stays hidden."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from django.apps.registry import Apps
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import models
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy
from pytest_django import Settings

from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions.visibility import NAMES_OF_ROOT, unwrap
from flowcontrol_core.redaction import is_secret_field
from tests.cases import each

# Models of these tests only: no table, no migration, unknown to the project.
ISOLATED = Apps()


class Region(models.Model):
    code = models.CharField(max_length=5, unique=True)

    class Meta:
        app_label = "crm"
        apps = ISOLATED

    def __str__(self) -> str:
        return f"region {self.code}"


class Client(models.Model):
    name = models.CharField(max_length=20)
    api_key = models.CharField(max_length=20, default="SECRET-KEY")
    otp_secret = models.CharField(max_length=20, default="SECRET-OTP")
    keyboard = models.CharField(max_length=20, default="qwertz")
    level = models.IntegerField(choices=[(1, "gold"), (2, "silver")], default=1)
    contract = models.FileField(upload_to="contracts")
    extra = models.JSONField(default=dict)
    region = models.ForeignKey(Region, on_delete=models.CASCADE)
    region_by_code = models.ForeignKey(
        Region, to_field="code", on_delete=models.CASCADE, related_name="+"
    )
    sponsor = models.ForeignKey(
        "self", null=True, on_delete=models.CASCADE, related_name="sponsored"
    )

    calls: ClassVar[list[str]] = []
    expression_methods = ("is_vip", "api_token_of", "erase")

    class Meta:
        app_label = "crm"
        apps = ISOLATED

    def __str__(self) -> str:
        return f"client {self.name}"

    @property
    def greeting(self) -> str:
        return f"Dear {self.name}"

    @property
    def login_token(self) -> str:
        return "SECRET-TOKEN"

    @property
    def label(self) -> Any:
        return gettext_lazy("Monday")

    @property
    def broken(self) -> str:
        raise ZeroDivisionError("no division")

    @property
    def all_clients(self) -> Any:
        return models.QuerySet(Client)

    @property
    def bound_method(self) -> Any:
        return self.is_vip

    @property
    def home(self) -> object:
        return self.region

    def is_vip(self) -> bool:
        return self.level == 1

    def api_token_of(self) -> str:
        return "SECRET-TOKEN"

    def erase(self) -> None:
        self.calls.append("erase")

    erase.alters_data = True  # type: ignore[attr-defined]

    def shout(self) -> str:
        self.calls.append("shout")
        return "shouted"


class ClientProxy(Client):
    class Meta:
        app_label = "crm"
        apps = ISOLATED
        proxy = True


class Login(models.Model):
    session_ref = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="+")
    visit = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="+")
    key = models.IntegerField(primary_key=True)

    class Meta:
        app_label = "crm"
        apps = ISOLATED

    def __str__(self) -> str:
        return "login"


@pytest.fixture
def client() -> Client:
    region = Region(pk=7, code="DE")
    sponsor = Client(pk=2, name="Bob", region=region)
    Client.calls.clear()
    return Client(
        pk=1,
        name="Ann",
        contract="contracts/a.pdf",
        extra={"size": 3, "items": [1]},
        region=region,
        region_by_code=region,
        sponsor=sponsor,
    )


def expose(settings: Settings, **labels: list[str]) -> None:
    fields = {label.replace("__", "."): names for label, names in labels.items()}
    settings.FLOWCONTROL = {"EXPRESSION_FIELDS": fields}


def test_concrete_fields_are_visible_by_default(
    evaluate: Callable[..., Any], client: Client
) -> None:
    assert evaluate("object.name", obj=client) == "Ann"
    assert evaluate("object.keyboard", obj=client) == "qwertz"
    assert evaluate("object.pk", obj=client) == 1
    assert evaluate("object.id", obj=client) == 1
    assert evaluate("object.extra.size", obj=client) == 3
    assert evaluate("object.extra.items.0", obj=client) == 1


def test_choices_show_their_raw_value_and_their_label(
    evaluate: Callable[..., Any], client: Client
) -> None:
    assert evaluate("object.level", obj=client) == 1
    assert evaluate("object.get_level_display", obj=client) == "gold"
    assert evaluate("object.get_name_display", obj=client) is None


def test_file_field_gives_its_name(evaluate: Callable[..., Any], client: Client) -> None:
    assert evaluate("object.contract", obj=client) == "contracts/a.pdf"
    assert evaluate("object.contract.path", obj=client) is None
    assert evaluate("object.contract", obj=Client()) == ""


@pytest.mark.parametrize(
    "path",
    [
        "greeting",  # a property that is not listed
        "shout",
        "save",
        "delete",
        "full_clean",
        "objects",
        "sponsored",
        "calls",
        "expression_methods",
        "DoesNotExist",
        "check",
    ],
)
def test_what_is_not_a_field_is_hidden_by_default(
    evaluate: Callable[..., Any], client: Client, path: str
) -> None:
    assert evaluate(f"object.{path}", obj=client) is None
    assert evaluate(f"object.{path}.all.0", obj=client) is None
    assert Client.calls == []


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("name", ["api_key", "otp_secret", "login_token", "_state"])
def test_secrets_are_hidden_even_if_listed(
    evaluate: Callable[..., Any],
    settings: Settings,
    client: Client,
    name: str,
    listed: bool,
) -> None:
    if listed:
        expose(settings, crm__client=["name", name])
    if not name.startswith("_"):
        assert evaluate(f"object.{name}", obj=client) is None
    assert name not in NAMES_OF_ROOT[Client]
    assert evaluate("object.name", obj=client) == "Ann"


def test_listed_model_shows_exactly_the_listed_names(
    evaluate: Callable[..., Any], settings: Settings, client: Client
) -> None:
    expose(settings, crm__Client=["name", "greeting", "_state", "shout", "sponsored"])
    assert evaluate("object.name", obj=client) == "Ann"
    assert evaluate("object.greeting", obj=client) == "Dear Ann"
    assert evaluate("object.pk", obj=client) == 1
    for hidden in ("level", "keyboard", "shout", "sponsored", "is_vip", "region_id"):
        assert evaluate(f"object.{hidden}", obj=client) is None
    assert Client.calls == []


def test_proxy_shows_what_its_model_shows(evaluate: Callable[..., Any], settings: Settings) -> None:
    expose(settings, crm__client=["name"])
    proxy = ClientProxy(name="Ann", level=2)
    assert evaluate("object.name", obj=proxy) == "Ann"
    assert evaluate("object.level", obj=proxy) is None


def test_relation_to_a_model_that_is_not_listed_shows_its_key_only(
    evaluate: Callable[..., Any], client: Client
) -> None:
    assert evaluate("object.region", obj=client) == 7
    assert evaluate("object.region_id", obj=client) == 7
    assert evaluate("object.region.pk", obj=client) == 7
    assert evaluate("object.region.id", obj=client) == 7
    assert evaluate("object.region.code", obj=client) is None
    assert evaluate("object.region_by_code_id", obj=client) == "DE"
    assert evaluate("object.sponsor.name", obj=client) is None
    assert evaluate("object.sponsor.pk", obj=Client()) is None


def test_relation_to_a_listed_model_is_followed(
    evaluate: Callable[..., Any], settings: Settings, client: Client
) -> None:
    expose(settings, crm__client=["name", "region", "sponsor"], crm__region=["code"])
    assert evaluate("object.sponsor.region.code", obj=client) == "DE"
    assert evaluate("object.region", obj=client) is client.region
    assert evaluate("object.sponsor.sponsor.name", obj=client) is None
    assert evaluate("object.sponsor.api_key", obj=client) is None


def test_listing_takes_effect_at_once(
    evaluate: Callable[..., Any], settings: Settings, client: Client
) -> None:
    assert evaluate("object.level", obj=client) == 1
    expose(settings, crm__client=["name"])
    assert evaluate("object.level", obj=client) is None


def test_callable_runs_only_if_its_class_lists_it(
    evaluate: Callable[..., Any], settings: Settings, client: Client
) -> None:
    assert evaluate("object.is_vip", obj=client) is True
    assert evaluate("object.shout", obj=client) is None
    assert evaluate("object.erase", obj=client) is None, "it alters data"
    assert evaluate("object.api_token_of", obj=client) is None, "its name is a secret's"
    expose(settings, crm__client=["is_vip", "shout"])
    assert evaluate("object.is_vip", obj=client) is True
    assert evaluate("object.shout", obj=client) is None
    assert Client.calls == []


def test_listed_property_gives_no_queryset_callable_or_hidden_object(
    evaluate: Callable[..., Any], settings: Settings, client: Client
) -> None:
    expose(settings, crm__client=["all_clients", "bound_method", "home"])
    assert evaluate("object.all_clients", obj=client) is None
    assert evaluate("object.all_clients.query", obj=client) is None
    assert evaluate("object.bound_method", obj=client) is None
    assert evaluate("object.home", obj=client) == 7
    assert evaluate("object.home.code", obj=client) is None


def test_lazily_translated_text_is_given_as_text(
    evaluate: Callable[..., Any], settings: Settings, client: Client
) -> None:
    expose(settings, crm__client=["label"])
    assert type(evaluate("object.label", obj=client)) is str


def test_listed_attribute_of_the_object_is_visible(
    evaluate: Callable[..., Any], settings: Settings, client: Client
) -> None:
    expose(settings, crm__client=["annotated"])
    assert evaluate("object.annotated", obj=client) is None
    client.annotated = 5  # type: ignore[attr-defined]
    assert evaluate("object.annotated", obj=client) == 5


def test_property_that_raises_is_an_error_with_the_path(
    evaluate: Callable[..., Any], settings: Settings, client: Client
) -> None:
    expose(settings, crm__client=["broken", "sponsor"])
    for text in ("1 == object.broken", "object.sponsor.broken"):
        with pytest.raises(ExpressionError, match="ZeroDivisionError: no division") as caught:
            evaluate(text, obj=client)
        error = caught.value
        assert text[error.position :].startswith("object.")
        assert "broken could not be read" in error.message
        assert isinstance(error.__cause__, ZeroDivisionError)


def test_session_shows_neither_its_key_nor_its_primary_key(evaluate: Callable[..., Any]) -> None:
    session = Session(session_key="LIVE", session_data="DATA")
    for name in ("session_key", "session_data", "pk", "id"):
        assert evaluate(f"object.{name}", obj=session) is None
    assert evaluate("object.expire_date|default:'none'", obj=session) == "none"


def test_relation_to_a_session_does_not_give_its_key(evaluate: Callable[..., Any]) -> None:
    login = Login(pk=5, visit_id="LIVE", session_ref_id="LIVE")
    for name in ("visit", "visit_id", "visit.pk", "session_ref", "session_ref_id"):
        assert evaluate(f"object.{name}", obj=login) is None
    assert evaluate("object.pk", obj=login) == 5, "a number called key is not a secret"
    assert evaluate("object.key", obj=login) is None


def test_password_is_hidden_everywhere(evaluate: Callable[..., Any], settings: Settings) -> None:
    user = User(pk=1, username="ann", password="HASH")
    expose(settings, auth__user=["username", "password", "get_session_auth_hash"])
    for text in (
        "object.password",
        "object.get_session_auth_hash",
        "payload.user.password",
        "state.user.password",
        "payload.users.0.password",
    ):
        payload = {"user": user, "users": [user]}
        assert evaluate(text, obj=user, state=payload, payload=payload) is None
    assert evaluate("payload.user.username", payload={"user": user}) == "ann"


def test_text_of_an_object_is_its_str(evaluate: Callable[..., Any], client: Client) -> None:
    assert evaluate("object|upper", obj=client) == "CLIENT ANN"


def test_a_lazy_object_is_loaded_once_and_holds_what_was_loaded() -> None:
    """The seam to Django: it fails where lazy objects are different from what they were."""
    user = User(username="ann")
    users = iter([user])
    lazy = SimpleLazyObject(lambda: next(users))
    assert unwrap(lazy) is unwrap(lazy) is user
    assert lazy.username == "ann"
    assert list(users) == []
    assert unwrap(SimpleLazyObject(lambda: None)) is None


def test_object_that_is_not_a_model_shows_nothing(evaluate: Callable[..., Any]) -> None:
    assert evaluate("object.real", obj=5) is None
    assert evaluate("object.path", obj=pytest) is None
    assert evaluate("object.a.b", obj={"a": {"b": 1}}) == 1


@each(
    "name",
    [
        *("password", "password_hash", "passwordHash", "api_token", "tokens", "accesstoken"),
        *("client_secret", "session_key", "sessionid", "key", "api_key", "apikey", "apiKey"),
        *("APIKey", "ssh_keys", "otp", "otp_secret", "totp", "key2", "private_key"),
    ],
)
def test_secret_name(name: str) -> None:
    assert is_secret_field(name)


@each(
    "name", ["keyboard", "keyword", "monkey", "turkey", "pk", "id", "name", "optional", "keynote"]
)
def test_harmless_name(name: str) -> None:
    assert not is_secret_field(name)
