"""The action that sends an e-mail through Django's mail backend."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol.base import BaseAction, BoundConfig, Effects, RunContext
from flowcontrol.errors import Retry
from flowcontrol.forms import ExpressionField, TemplateField
from flowcontrol_actions_builtin import addresses
from flowcontrol_actions_builtin.delivery import is_temporary
from flowcontrol_actions_builtin.errors import ActionError

GROUPS: dict[str, Any] = {
    "managers": _("the managers of the site (MANAGERS)"),
    "admins": _("the administrators of the site (ADMINS)"),
}
_RECIPIENTS = ("to", "to_expression", "to_groups", "cc", "bcc")


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
        help_text=_("An expression for an address or a list of addresses, such as: object.email"),
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
        label=_("Text"), help_text=_("Plain text. Can use object, state, now and payload.")
    )
    html = TemplateField(
        label=_("HTML"),
        required=False,
        html=True,
        help_text=_("An optional HTML version of the text; values in it are escaped."),
    )
    from_email = _line(
        _("From"), required=False, help_text=_("Leave empty to use the sender of the site.")
    )
    reply_to = _line(_("Reply to"), required=False)

    def clean(self) -> None:
        super().clean()
        if not self.errors and not any(self.cleaned_data[name] for name in _RECIPIENTS):
            problem = forms.ValidationError(_("Enter at least one recipient."), code="required")
            self.add_error("to", problem)


class SendEmail(BaseAction):
    """Send one message.

    Its Message-ID is made of ``run.idempotency_key``, so that mailboxes recognise a repetition
    after a crash between sending and the checkpoint.
    """

    name = "send_email"
    icon = "mail"
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
                gettext("The e-mail has no recipients: its address fields are empty for this run.")
            )
        try:
            message.send()
        except OSError as error:
            if not is_temporary(error):
                raise
            problem = gettext("Temporary mail server error: %(error)s")
            raise Retry(problem % {"error": error}) from error
        run.log(gettext("Sent to %(recipients)s.") % {"recipients": ", ".join(recipients)})

    def summary(self, config: BoundConfig) -> str:
        sources = {name: config.source(name) for name in _RECIPIENTS}
        sources["to_groups"] = ", ".join(str(GROUPS[name]) for name in sources["to_groups"] or ())
        recipients = ", ".join(filter(None, sources.values()))
        values = {"subject": config.source("subject"), "recipients": recipients}
        return gettext("Send the e-mail “%(subject)s” to %(recipients)s") % values


def _message(run: RunContext, config: Any) -> EmailMultiAlternatives:
    sender = (
        addresses.single_line(config.from_email, _label("from_email"))
        or settings.DEFAULT_FROM_EMAIL
    )
    message = EmailMultiAlternatives(
        subject=addresses.single_line(config.subject, _label("subject")),
        body=config.text,
        from_email=sender,
        to=_direct_recipients(config),
        cc=addresses.split_addresses(config.cc, _label("cc")),
        bcc=addresses.split_addresses(config.bcc, _label("bcc")),
        reply_to=addresses.split_addresses(config.reply_to, _label("reply_to")),
        headers={"Message-ID": f"<{run.idempotency_key}@{addresses.domain_of(sender)}>"},
    )
    if html := config.html:
        message.attach_alternative(html, "text/html")
    return message


def _direct_recipients(config: Any) -> list[str]:
    found = addresses.split_addresses(config.to, _label("to"))
    if config.source("to_expression"):
        found += addresses.listed_addresses(config.to_expression, _label("to_expression"))
    for group in config.to_groups:
        found += addresses.staff_addresses(getattr(settings, group.upper()))
    return list(dict.fromkeys(found))


def _label(name: str) -> Any:
    return _MailForm.base_fields[name].label
