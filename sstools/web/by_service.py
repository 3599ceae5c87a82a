"""Django's admin over the services: forms that a service judges and saves, removing and actions that call one.

Nothing here writes by itself, so rights, checks and history are those of page and API; `SOURCE` is what history says.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from sstools.errors import Invalid, SSToolsError

SOURCE = "admin"

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Any]  # a type only for the checker: it is not subscriptable at run time
else:
    ModelForm = forms.ModelForm


class ServiceForm(ModelForm):
    """Judged and saved by a service: a ModelForm would put values into the instance before that."""

    actor: Any = None

    def apply(self) -> Any:
        """Call the service with `cleaned_data`. Returns the row. May raise SSToolsError."""
        raise NotImplementedError

    def _post_clean(self) -> None:
        if self.errors:
            return
        try:
            with transaction.atomic():
                self.instance = self.apply()
        except Invalid as exc:
            for name, texts in exc.errors.items() or {"": [exc.message]}.items():
                own = name.partition(".")[0]
                for text in texts:
                    self.add_error(own if own in self.fields else None, text)
        except SSToolsError as exc:
            self.add_error(None, str(exc))


class ByService:
    """A ModelAdmin whose form is a ServiceForm; removing goes through `remove(obj, actor)`."""

    show_full_result_count = False

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)  # type: ignore[misc]
        return type("FormOfActor", (form,), {"actor": request.user, **self.for_form(request)})

    def for_form(self, request: HttpRequest) -> dict[str, Any]:
        """More attributes of the form, beside `actor`."""
        return {}

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Saved already, by the service."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """This too."""

    def remove(self, obj: Any, request: HttpRequest) -> None:
        raise NotImplementedError

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.remove(obj, request)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """All of them or none: what the service refuses ends it."""
        for obj in queryset:
            self.remove(obj, request)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        try:
            return super().delete_view(request, object_id, extra_context)  # type: ignore[misc]
        except SSToolsError as exc:
            return self._refused(request, exc)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        try:
            return super().changelist_view(request, extra_context)  # type: ignore[misc]
        except SSToolsError as exc:
            return self._refused(request, exc)

    def _refused(self, request: HttpRequest, exc: SSToolsError) -> HttpResponse:
        opts = self.model._meta  # type: ignore[attr-defined]
        messages.error(request, str(exc))
        return HttpResponseRedirect(reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist"))

    def each(self, request: HttpRequest, rows: Iterable[Any], change: Callable[[Any], Any]) -> None:
        """An action: `change` for every row, and what became of each."""
        for row in rows:
            try:
                done = change(row)
            except SSToolsError as exc:
                messages.error(request, f"{row}: {exc}")
            else:
                messages.success(request, f"{row}: {done if isinstance(done, str) else 'done'}")
