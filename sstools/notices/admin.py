"""Webhooks are managed by their services; notices and who wants which are to look at."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from sstools.resources import EVERYTHING
from sstools.roles import places, policy
from sstools.roles.permissions import Permission
from sstools.web.by_service import SOURCE, ByService, ServiceForm

from . import events, services
from .models import Delivery, Notice, Webhook, Wish


class _ReadOnly(admin.ModelAdmin):
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Notice)
class NoticeAdmin(_ReadOnly):
    list_display = ["created_at", "event", "title"]
    list_filter = ["event"]
    search_fields = ["title"]
    date_hierarchy = "created_at"


@admin.register(Delivery)
class DeliveryAdmin(ByService, _ReadOnly):
    list_display = ["notice", "user", "webhook", "state", "attempts", "answer", "sent_at"]
    list_filter = ["state", "webhook"]
    list_select_related = ["notice", "user", "webhook"]
    search_fields = ["notice__title", "user__username", "webhook__name"]
    actions = ["send_again"]

    @admin.action(description="Send again what was given up")
    def send_again(self, request: HttpRequest, rows: QuerySet[Delivery]) -> None:
        self.each(request, rows, lambda row: services.send_again(row, actor=request.user, source=SOURCE))


@admin.register(Wish)
class WishAdmin(_ReadOnly):
    list_display = ["user", "event", "mine", "others"]
    list_filter = ["event"]
    search_fields = ["user__username"]
    list_select_related = ["user"]


class WebhookForm(ServiceForm):
    """Address and signing secret are written, and never shown."""

    url = forms.CharField(
        required=False,
        label="Address",
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="Stored encrypted and never shown. Empty: keep the stored one.",
    )
    secret = forms.CharField(
        required=False,
        strip=False,
        label="Signing secret",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Stored encrypted and never shown. Empty: keep the stored one.",
    )
    events = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None ticked: all of them, also those to come.",
    )
    scope = forms.ChoiceField(label="About")

    class Meta:
        model = Webhook
        fields = ["name", "url", "secret", "events", "scope", "is_enabled"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("url", "secret"):
            self.initial.pop(name, None)
        if "events" in self.fields:
            told, scope = self.fields["events"], self.fields["scope"]
            assert isinstance(told, forms.MultipleChoiceField)
            assert isinstance(scope, forms.ChoiceField)
            known = [event for event in events.all_events() if event is not events.TEST]
            told.choices = [(event.key, event.title) for event in known]
            where = policy.scopes(self.actor, Permission.WEBHOOK_EDIT)
            found = [one for one in places.seen_by(self.actor) if one.resource_name in where]
            if where.everything:
                found.insert(0, places.ALL)
            scope.choices = [(one.resource_name, one.label) for one in found]

    def apply(self) -> Webhook:
        # A fresh row: the form must not hand down what the service then refuses.
        row = Webhook.objects.get(pk=self.instance.pk) if self.instance.pk else None
        return services.save_webhook(row, self.cleaned_data, actor=self.actor, source=SOURCE)


@admin.register(Webhook)
class WebhookAdmin(ByService, admin.ModelAdmin):
    form = WebhookForm
    list_display = ["name", "host", "scope", "is_enabled", "created_by", "created_at"]
    list_filter = ["is_enabled", "scope"]
    list_select_related = ["created_by"]
    search_fields = ["name", "host"]
    readonly_fields = ["uuid", "host", "created_at", "created_by"]
    actions = ["try_them", "switch_on", "switch_off"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Webhook]:
        return Webhook.objects.visible_to(request.user)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Webhook | None = None) -> bool:
        if obj is None:
            return policy.can_anywhere(request.user, Permission.WEBHOOK_EDIT)
        return policy.can(
            request.user, Permission.WEBHOOK_EDIT, None if obj.scope == EVERYTHING else obj.scope
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Webhook | None = None) -> bool:
        return self.has_view_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Webhook | None = None) -> bool:
        return self.has_view_permission(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Its deliveries go with it, though nobody deletes those by themselves."""
        deleted, counts, _, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, set(), protected

    def remove(self, obj: Webhook, request: HttpRequest) -> None:
        services.delete_webhook(obj, actor=request.user, source=SOURCE)

    @admin.action(description="Send a notice to try them")
    def try_them(self, request: HttpRequest, rows: QuerySet[Webhook]) -> None:
        def send(row: Webhook) -> str:
            services.try_webhook(row, actor=request.user, source=SOURCE)
            return "a notice is on its way; its delivery says what became of it"

        self.each(request, rows, send)

    @admin.action(description="Switch on")
    def switch_on(self, request: HttpRequest, rows: QuerySet[Webhook]) -> None:
        self._switch(request, rows, True)

    @admin.action(description="Switch off")
    def switch_off(self, request: HttpRequest, rows: QuerySet[Webhook]) -> None:
        self._switch(request, rows, False)

    def _switch(self, request: HttpRequest, rows: QuerySet[Webhook], on: bool) -> None:
        self.each(
            request,
            rows,
            lambda row: services.save_webhook(row, {"is_enabled": on}, actor=request.user, source=SOURCE),
        )
