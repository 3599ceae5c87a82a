"""Webhooks and wishes in the state."""

from sstools.state.tables import leave_out, table

from .models import Delivery, Notice, Webhook, Wish


def _rests_without_address(hook: Webhook) -> None:
    if not hook.url:
        hook.is_enabled = False  # until somebody enters it again


table(Webhook, ("uuid",), "webhooks", prepare=_rests_without_address)
table(Wish, ("user", "event"), "wishes of people for notices")
leave_out("was told already", Notice, Delivery)
