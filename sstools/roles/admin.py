"""Access in Django's admin, for superusers: changes go through the services, with their checks and their history."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import FilteredSelectMultiple
from django.contrib.auth import admin as auth_admin  # noqa: F401  registers what is replaced here
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group as DjangoGroup
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from sstools.errors import SSToolsError
from sstools.web.by_service import SOURCE, ByService, ServiceForm

from . import accounts, places, policy, services, shown_once, tokens
from .models import Account, ApiToken, CustomRole, Grant, Group, Source
from .permissions import MEANING, Permission
from .tokens import LIVES

User = get_user_model()
admin.site.unregister(User)
admin.site.unregister(DjangoGroup)  # ours hold roles; Django's, and its permissions, decide nothing here


class ForSuperusers:
    """Nobody else sees it, whatever rights of Django's they were given."""

    show_full_result_count = False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return policy.is_superuser(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return policy.is_superuser(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return policy.is_superuser(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return policy.is_superuser(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return policy.is_superuser(request.user)


class ForSuperusersByService(ByService, ForSuperusers):
    def for_form(self, request: HttpRequest) -> dict[str, Any]:
        return {"seen": places.seen_by(request.user)}


class PlacesForm(ServiceForm):
    """`seen`: on what a role can be given."""

    seen: list[places.Place] = []


# --- Grants -----------------------------------------------------------------------------------------------------------


class GrantForm(PlacesForm):
    role = forms.ChoiceField()
    scope = forms.ChoiceField(label="On")

    class Meta:
        model = Grant
        fields = ["user", "group", "role", "scope", "expires_at", "reason"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "role" in self.fields:
            role, scope = self.fields["role"], self.fields["scope"]
            assert isinstance(role, forms.ChoiceField)
            assert isinstance(scope, forms.ChoiceField)
            role.choices = [(one.key, one.title) for one in services.all_roles()]
            scope.choices = [(place.resource_name, str(place)) for place in (places.ALL, *self.seen)]

    def apply(self) -> Grant:
        data = dict(self.cleaned_data)
        end = {"expires_at": data.pop("expires_at", None), "reason": data.pop("reason", "")}
        if self.instance.pk:
            return services.change_grant(self.instance, actor=self.actor, source=SOURCE, **end)
        return services.grant(
            data["role"],
            user=data["user"],
            group=data["group"],
            on=data["scope"],
            actor=self.actor,
            source=SOURCE,
            **end,
        )


class StateFilter(admin.SimpleListFilter):
    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("in_force", "in force"), ("expired", "expired")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        in_force = Grant.objects.in_force()
        if self.value() == "in_force":
            return queryset.filter(pk__in=in_force.values("pk"))
        return queryset.exclude(pk__in=in_force.values("pk")) if self.value() == "expired" else queryset


class RoleFilter(admin.SimpleListFilter):
    title, parameter_name = "role", "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(role.key, role.title) for role in services.all_roles()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(role=self.value()) if self.value() else queryset


@admin.register(Grant)
class GrantAdmin(ForSuperusersByService, admin.ModelAdmin):
    form = GrantForm
    list_display = ["holder", "role", "scope", "expires_at", "reason", "created_at", "created_by"]
    list_filter = [RoleFilter, StateFilter, ("group", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["user", "group", "created_by"]
    search_fields = ["user__username", "user__last_name", "user__email", "group__name", "scope", "reason"]
    autocomplete_fields = ["user", "group"]
    date_hierarchy = "created_at"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        fixed = ["created_at", "created_by"]
        return ["user", "group", "role", "scope", *fixed] if obj else fixed

    def remove(self, obj: Grant, request: HttpRequest) -> None:
        services.revoke(obj, actor=request.user, source=SOURCE)


# --- Roles and groups -------------------------------------------------------------------------------------------------


class CustomRoleForm(ServiceForm):
    permissions = forms.MultipleChoiceField(
        choices=[(str(one), str(one)) for one in Permission], widget=forms.CheckboxSelectMultiple
    )

    class Meta:
        model = CustomRole
        fields = ["name", "description", "permissions"]

    def apply(self) -> CustomRole:
        values = {**self.cleaned_data, "actor": self.actor, "source": SOURCE}
        if self.instance.pk:
            return services.update_role(self.instance, **values)
        return services.create_role(**values)


@admin.register(CustomRole)
class CustomRoleAdmin(ForSuperusersByService, admin.ModelAdmin):
    """The built-in roles are code, and not here."""

    form = CustomRoleForm
    list_display = ["name", "key", "description", "created_by", "updated_at"]
    list_select_related = ["created_by"]
    search_fields = ["name", "key", "description"]
    readonly_fields = ["key", "created_at", "created_by"]

    def remove(self, obj: CustomRole, request: HttpRequest) -> None:
        services.delete_role(obj, actor=request.user, source=SOURCE)


class GroupForm(ServiceForm):
    people = forms.ModelMultipleChoiceField(
        User._default_manager.order_by("username"),
        required=False,
        widget=FilteredSelectMultiple("people", is_stacked=False),
        help_text="Of a directory's group: whoever was in it at their last sign-in; not changed here.",
    )

    class Meta:
        model = Group
        fields = ["name", "source", "description"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["people"] = [row.user_id for row in self.instance.memberships.all()]

    def apply(self) -> Group:
        data = self.cleaned_data
        row: Group = self.instance
        if not row.pk:
            row = services.create_group(
                name=data["name"],
                origin=data["source"],
                description=data["description"],
                actor=self.actor,
                source=SOURCE,
            )
        if not row.is_directory:
            services.set_members(row, data["people"], actor=self.actor, source=SOURCE)
        return row


@admin.register(Group)
class GroupAdmin(ForSuperusersByService, admin.ModelAdmin):
    form = GroupForm
    list_display = ["name", "source", "member_count", "description", "seen_at"]
    list_filter = ["source"]
    search_fields = ["name", "description"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        rows: QuerySet[Group] = super().get_queryset(request)
        return rows.annotate(member_count=Count("memberships"))

    @admin.display(ordering="member_count", description="members")
    def member_count(self, obj: Any) -> int:
        return int(obj.member_count)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["name", "source", "description", "seen_at"] if obj else ["seen_at"]

    def remove(self, obj: Group, request: HttpRequest) -> None:
        services.delete_group(obj, actor=request.user, source=SOURCE)


# --- People -----------------------------------------------------------------------------------------------------------


class UserForm(ServiceForm):
    class Meta:
        model = User
        fields = ["username", "first_name", "last_name", "email", "is_active", "is_superuser"]

    def apply(self) -> Any:
        data = dict(self.cleaned_data)
        active, superuser = data.pop("is_active", True), data.pop("is_superuser", False)
        common = {"actor": self.actor, "source": SOURCE}
        if self.instance.pk:
            data.pop("username", None)
            # A fresh row: the form must not hand down what a service then refuses.
            user = accounts.update_user(User._default_manager.get(pk=self.instance.pk), **data, **common)
        else:
            user = accounts.create_user(data.pop("username"), **data, **common)
        accounts.set_superuser(user, superuser, **common)
        return accounts.set_active(user, active, **common)


@admin.register(User)
class UserAdmin(ForSuperusersByService, admin.ModelAdmin):
    """No password is set here: the link for choosing one is an action of the list. So is signing out: sessions have no
    pages, as their keys would stand in the addresses.
    """

    form = UserForm
    list_display = [
        "username",
        "first_name",
        "last_name",
        "email",
        "origin",
        "is_active",
        "is_superuser",
        "last_login",
    ]
    list_filter = ["is_active", "is_superuser", "account__source"]
    list_select_related = ["account"]
    search_fields = ["username", "first_name", "last_name", "email"]
    ordering = ["username"]
    actions = ["switch_off", "switch_on", "sign_out", "make_password_links"]

    @admin.display(description="source")
    def origin(self, obj: Any) -> str:
        account: Account | None = getattr(obj, "account", None)
        return account.get_source_display() if account else Source.LOCAL.label

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["username", "last_login", "date_joined"] if obj else []

    def remove(self, obj: Any, request: HttpRequest) -> None:
        accounts.delete_user(obj, actor=request.user, source=SOURCE)

    @admin.action(description="Switch off")
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._each(
            request,
            queryset,
            lambda user: accounts.set_active(user, False, actor=request.user, source=SOURCE),
        )

    @admin.action(description="Switch on")
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._each(
            request, queryset, lambda user: accounts.set_active(user, True, actor=request.user, source=SOURCE)
        )

    @admin.action(description="Sign out everywhere")
    def sign_out(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._each(
            request,
            queryset,
            lambda user: accounts.end_sessions(
                user,
                actor=request.user,
                keep=request.session.session_key if user.pk == request.user.pk else None,
                source=SOURCE,
            ),
        )

    @admin.action(description="Make a link for choosing a password (shown once)")
    def make_password_links(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        def make(user: Any) -> None:
            path = accounts.password_link(user, actor=request.user, source=SOURCE)
            messages.success(request, f"{user}: {request.build_absolute_uri(path)}")

        self._each(request, queryset, make)

    def _each(self, request: HttpRequest, queryset: QuerySet[Any], change: Any) -> None:
        for user in queryset:
            try:
                change(user)
            except SSToolsError as exc:
                messages.error(request, f"{user}: {exc}")


class ApiTokenForm(ServiceForm):
    days = forms.ChoiceField(choices=LIVES, initial="90", required=False, label="It lives")
    permissions = forms.MultipleChoiceField(
        required=False,
        choices=[(str(one), f"{one} – {MEANING[one]}") for one in Permission],
        help_text="Nothing chosen: whatever its user may.",
    )
    scopes = forms.MultipleChoiceField(required=False, help_text="Nothing chosen: wherever its user may.")

    class Meta:
        model = ApiToken
        fields = ("user", "name")
        help_texts = {"user": "A service account, or yourself."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["scopes"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(place.resource_name, place.label) for place in places.seen_by(self.actor)]

    def apply(self) -> ApiToken:
        given = self.cleaned_data
        row, self.text = tokens.create_token(
            given["user"],
            name=given["name"],
            days=int(given["days"]) if given["days"] else None,
            permissions=given["permissions"],
            scopes=given["scopes"],
            actor=self.actor,
            source=SOURCE,
        )
        return row


@admin.register(ApiToken)
class ApiTokenAdmin(ByService, ForSuperusers, admin.ModelAdmin):
    """Made here, shown once on the page of the user's tokens, ended here."""

    form = ApiTokenForm
    list_display = ["name", "user", "prefix", "created_at", "last_used_at", "expires_at", "revoked_at"]
    list_select_related = ["user"]
    search_fields = ["name", "user__username", "prefix"]
    exclude = ["hash"]
    actions = ["end_tokens"]

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        shown_once.keep(request, shown_once.NEW_TOKEN, obj.pk, form.text)

    def response_add(
        self, request: HttpRequest, obj: ApiToken, post_url_continue: Any = None
    ) -> HttpResponse:
        if obj.user_id == request.user.pk:
            return HttpResponseRedirect(reverse("roles:own_tokens"))
        return HttpResponseRedirect(reverse("roles:user_tokens", args=[obj.user_id]))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.action(description="End at once")
    def end_tokens(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        for token in queryset:
            tokens.revoke_token(token.pk, actor=request.user, source=SOURCE)
