"""The action that sends an e-mail through Django's mail backend."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _

from flowcontrol.base import BaseAction, BoundConfig, Effects, RunContext
from flowcontrol.errors import Retry
from flowcontrol.forms import ExpressionField, TemplateField
from flowcontrol_actions_builtin.addresses import (
    domain_of,
    listed_addresses,
    single_line,
    split_addresses,
    staff_addresses,
)
from flowcontrol_actions_builtin.delivery import is_temporary
from flowcontrol_actions_builtin.errors import ActionError

GROUPS: list[tuple[str, Any]] = [
    ("managers", _("the managers of the site (MANAGERS)")),
    ("admins", _("the administrators of the site (ADMINS)")),
]


def _line(label: Any, **kwargs: Any) -> TemplateField:
    return TemplateField(
        label=label, max_length=1000, widget=forms.TextInput(attrs={"size": 60}), **kwargs
    )


class _MailForm(forms.Form):
    to = _line(
        _("To"),
        required=False,
        help_text=_("Addresses separated by commas, such as: {{ object.email }}"),
    )
    to_expression = ExpressionField(
        label=_("To, computed"),
        required=False,
        help_text=_("An expression that gives an address or a list of them: object.email"),
    )
    to_groups = forms.MultipleChoiceField(
        label=_("To all of"),
        required=False,
        choices=GROUPS,
        widget=forms.CheckboxSelectMultiple,
    )
    cc = _line(_("Copy to"), required=False)
    bcc = _line(_("Blind copy to"), required=False)
    subject = _line(_("Subject"))
    text = TemplateField(
        label=_("Text"), help_text=_("Plain text. Sees object, state, now and payload.")
    )
    html = TemplateField(
        label=_("HTML"),
        required=False,
        html=True,
        help_text=_("An optional second form of the text; values in it are escaped."),
    )
    from_email = _line(
        _("From"), required=False, help_text=_("Empty for the sender set by the site.")
    )
    reply_to = _line(_("Answers to"), required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = dict(super().clean() or self.cleaned_data)
        names = ("to", "to_expression", "to_groups", "cc", "bcc")
        if not any(cleaned.get(name) for name in names) and not self.errors:
            self.add_error("to", forms.ValidationError(_("Name a recipient."), code="required"))
        return cleaned


class SendEmail(BaseAction):
    """Send one message.

    Its Message-ID is made of ``run.idempotency_key``, so that mailboxes recognise a repetition
    after a crash between sending and the checkpoint.
    """

    name = "send_email"
    verbose_name = _("Send e-mail")
    description = _("Sends an e-mail, as plain text and optionally as HTML.")
    group = _("Messaging")
    effects = Effects.EXTERNAL
    Config = _MailForm

    def run(self, *, run: RunContext, config: Any, **_: Any) -> None:
        message = _message(run, config)
        recipients = message.recipients()
        if not recipients:
            raise ActionError(
                "The e-mail has no recipients: the fields To, Copy to and Blind copy to are all "
                "empty for this run. Correct them, or put an If condition around the step."
            )
        try:
            message.send()
        except OSError as error:
            if is_temporary(error):
                raise Retry(f"The mail server asks for patience: {error}") from error
            raise
        run.log(say("Sent to %(recipients)s.") % {"recipients": ", ".join(recipients)})

    def summary(self, config: BoundConfig) -> str:
        groups = dict(GROUPS)
        recipients = [
            *(config.source(name) for name in ("to", "to_expression") if config.source(name)),
            *(str(groups[name]) for name in config.source("to_groups") or () if name in groups),
            *(config.source(name) for name in ("cc", "bcc") if config.source(name)),
        ]
        values = {"subject": config.source("subject"), "recipients": ", ".join(recipients)}
        return say("Send the e-mail “%(subject)s” to %(recipients)s") % values


def _message(run: RunContext, config: Any) -> EmailMultiAlternatives:
    sender = single_line(config.from_email, "From") or settings.DEFAULT_FROM_EMAIL
    message = EmailMultiAlternatives(
        subject=single_line(config.subject, "Subject"),
        body=config.text,
        from_email=sender,
        to=_direct_recipients(config),
        cc=split_addresses(config.cc, "Copy to"),
        bcc=split_addresses(config.bcc, "Blind copy to"),
        reply_to=split_addresses(config.reply_to, "Answers to"),
        headers={"Message-ID": f"<{run.idempotency_key}@{domain_of(sender)}>"},
    )
    if html := config.html:
        message.attach_alternative(html, "text/html")
    return message


def _direct_recipients(config: Any) -> list[str]:
    found = split_addresses(config.to, "To")
    if config.source("to_expression"):
        found += listed_addresses(config.to_expression, "To, computed")
    if "managers" in config.to_groups:
        found += staff_addresses(settings.MANAGERS)
    if "admins" in config.to_groups:
        found += staff_addresses(settings.ADMINS)
    return list(dict.fromkeys(found))
