"""Registering, editing, removing: what is right, who may, what is written down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection

from environments import services
from environments.models import Asset, CheckState, Environment
from environments.reading import read_everything
from environments.store import take_snapshot
from sstools.audit.models import AuditEvent
from sstools.errors import Conflict, Invalid, NotAllowed
from sstools.jobs.models import Job
from sstools.resources import resource_name
from sstools.roles.models import Grant
from tests.fakes.superset import FakeSuperset

from .conftest import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
DATA = {"name": "BI Dev", "url": "https://bi.example.org", "username": "svc", "secret": PASSWORD}


def refused(actor: Any, **changes: Any) -> dict[str, list[str]]:
    with pytest.raises(Invalid) as caught:
        services.register_environment({**DATA, **changes}, actor=actor)
    assert not Environment.objects.exists()
    return caught.value.errors


def test_what_follows_from_the_name_and_the_place_need_not_be_said(owner: Any) -> None:
    made = services.register_environment({**DATA, "position": 3}, actor=owner)
    assert (made.slug, made.tag, made.colour, made.protected) == ("bi-dev", "PROD", "prod", True)
    assert made.check_state == CheckState.UNKNOWN


def test_production_may_be_left_unprotected_if_somebody_says_so(owner: Any) -> None:
    assert not services.register_environment(
        {**DATA, "position": 3, "protected": False}, actor=owner
    ).protected


def test_a_second_production_gets_a_tag_of_its_own(owner: Any) -> None:
    services.register_environment({**DATA, "position": 3}, actor=owner)
    other = services.register_environment({**DATA, "name": "EU", "position": 3}, actor=owner)
    assert other.tag == "EU"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://bi.example.org/", "https://bi.example.org"),
        ("https://BI.example.org:8443/superset/welcome/", "https://bi.example.org:8443"),
        ("http://10.0.0.5:8088/login/", "http://10.0.0.5:8088"),
        ("https://example.org/analytics/", "https://example.org/analytics"),
        ("http://[::1]:8088", "http://[::1]:8088"),
    ],
)
def test_addresses_are_kept_without_what_the_browser_added(owner: Any, given: str, kept: str) -> None:
    assert services.register_environment({**DATA, "url": given}, actor=owner).url == kept


@pytest.mark.parametrize(
    "url",
    [
        "ftp://bi.example.org",
        "javascript:alert(1)",
        "bi.example.org",
        "https://svc:hunter2@bi.example.org",
        "https://bi.example.org/?next=/x",
        "https://bi.example.org/#top",
        "https://bi.example.org/../admin",
        "https://bi.exa mple.org",
        "",
    ],
)
def test_what_is_no_address_of_a_superset_is_refused_at_its_field(owner: Any, url: str) -> None:
    errors = refused(owner, url=url)
    assert errors["url"]
    assert "hunter2" not in str(errors)


def test_a_password_in_the_proxy_address_is_refused_without_repeating_it(owner: Any) -> None:
    errors = refused(owner, proxy_url="http://me:hunter2@proxy.example.org:3128")
    assert "password" in errors["proxy_url"][0]
    assert "hunter2" not in str(errors)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"slug": "new"}, "slug"),
        ({"slug": "Not A Slug"}, "slug"),
        ({"slug": "42"}, "slug"),
        ({"secret": ""}, "secret"),
        ({"username": ""}, "username"),
        ({"auth_kind": "kerberos"}, "auth_kind"),
        ({"auth_kind": "token", "secret": "two words"}, "secret"),
        ({"secret_reference": "env:SUPERSET_X"}, "secret_reference"),  # and a secret
        ({"read_timeout_seconds": 0}, "read_timeout_seconds"),
        ({"max_parallel": 99}, "max_parallel"),
        ({"colour": "pink"}, "colour"),
        ({"ca_certificate": "hello"}, "ca_certificate"),
        ({"version": "6.1.0"}, "version"),  # not for callers to set
    ],
)
def test_each_wrong_value_is_named_at_its_field(owner: Any, changes: dict[str, Any], field: str) -> None:
    assert field in refused(owner, **changes)


def test_names_and_slugs_are_taken_once(owner: Any) -> None:
    services.register_environment(DATA, actor=owner)
    with pytest.raises(Invalid) as caught:
        services.register_environment({**DATA, "slug": "other"}, actor=owner)
    assert "name" in caught.value.errors


def test_an_authority_is_checked_when_it_is_entered(owner: Any) -> None:
    ca = trustme.CA()
    made = services.register_environment(
        {**DATA, "ca_certificate": ca.cert_pem.bytes().decode().replace("\n", "\r\n")}, actor=owner
    )
    assert made.ca_certificate.startswith("-----BEGIN CERTIFICATE-----\n")
    past = datetime.now(UTC) - timedelta(days=1)
    expired = ca.issue_cert("x.test", not_after=past).cert_chain_pems[0].bytes().decode()
    with pytest.raises(Invalid) as caught:
        services.update_environment(made, {"ca_certificate": expired, "secret": PASSWORD}, actor=owner)
    assert "expired" in caught.value.errors["ca_certificate"][0]


def test_a_private_key_is_refused_and_not_kept(owner: Any) -> None:
    key = trustme.CA().private_key_pem.bytes().decode()
    assert "private key" in refused(owner, ca_certificate=key)["ca_certificate"][0]


# --- Permissions ----------------------------------------------------------------------------------


def test_only_admins_write_and_authors_may_ask(
    environment: Environment, viewer: Any, author: Any, release_lead: Any, admin: Any, stranger: Any
) -> None:
    for user in (stranger, viewer, author, release_lead):
        for write in (
            lambda user=user: services.register_environment({**DATA, "name": "Mine"}, actor=user),
            lambda user=user: services.update_environment(environment, {"name": "Mine"}, actor=user),
            lambda user=user: services.remove_environment(environment, actor=user, confirm="dev"),
        ):
            with pytest.raises(NotAllowed):
                write()
    for user in (stranger, viewer):
        for ask in (services.request_check, services.request_reading):
            with pytest.raises(NotAllowed):
                ask(environment, actor=user)
    assert not Job.objects.exists()
    assert services.request_check(environment, actor=author).kind == "environments.check"
    assert services.update_environment(environment, {"name": "Theirs"}, actor=admin).name == "Theirs"


def test_an_admin_of_one_environment_changes_that_one_only(
    environment: Environment, owner: Any, make_user: Callable[..., Any]
) -> None:
    other = services.register_environment(DATA, actor=owner)
    local = make_user("local", "admin", on=resource_name(environment))
    assert list(Environment.objects.visible_to(local)) == [environment]
    services.update_environment(environment, {"tag": "D"}, actor=local)
    for refused_write in (
        lambda: services.update_environment(other, {"tag": "D"}, actor=local),
        lambda: services.register_environment({**DATA, "name": "Third"}, actor=local),
    ):
        with pytest.raises(NotAllowed):
            refused_write()


# --- Editing --------------------------------------------------------------------------------------


def test_an_empty_secret_keeps_the_stored_one(environment: Environment, owner: Any) -> None:
    services.update_environment(environment, {"name": "Development", "secret": ""}, actor=owner)
    fresh = Environment.objects.get(pk=environment.pk)
    assert (fresh.name, str(fresh.secret)) == ("Development", PASSWORD)


@pytest.mark.parametrize(
    "change", [{"url": "http://evil.example.org"}, {"proxy_url": "http://evil.example.org:1"}]
)
def test_a_stored_secret_is_not_sent_anywhere_else(
    environment: Environment, owner: Any, change: dict[str, Any]
) -> None:
    with pytest.raises(Invalid) as caught:
        services.update_environment(environment, change, actor=owner)
    assert "secret" in caught.value.errors
    changed = services.update_environment(environment, {**change, "secret": "another"}, actor=owner)
    assert str(changed.secret) == "another"


def test_another_path_on_the_same_host_keeps_it(environment: Environment, owner: Any) -> None:
    changed = services.update_environment(environment, {"url": environment.url + "/bi"}, actor=owner)
    assert str(Environment.objects.get(pk=changed.pk).secret) == PASSWORD


def test_a_token_needs_no_user_and_a_password_is_not_taken_for_one(
    environment: Environment, owner: Any
) -> None:
    with pytest.raises(Invalid) as caught:
        services.update_environment(environment, {"auth_kind": "token"}, actor=owner)
    assert "secret" in caught.value.errors
    changed = services.update_environment(
        environment, {"auth_kind": "token", "secret": "sst_abc"}, actor=owner
    )
    assert changed.username == ""


def test_after_a_change_of_the_connection_it_counts_as_not_tested(
    environment: Environment, owner: Any
) -> None:
    services.run_check(environment)
    take_snapshot(environment, _read(environment), "reading")
    assert Environment.objects.get(pk=environment.pk).check_state == CheckState.OK
    services.update_environment(environment, {"tag": "D"}, actor=owner)
    assert Environment.objects.get(pk=environment.pk).check_state == CheckState.OK
    services.update_environment(environment, {"url": environment.url + "/bi"}, actor=owner)
    fresh = Environment.objects.get(pk=environment.pk)
    assert (fresh.check_state, fresh.version, fresh.capabilities) == (CheckState.UNKNOWN, "", {})
    # Perhaps another Superset: nothing that was read before is taken for what is there.
    assert not fresh.snapshots.get().entries.exclude(exported_at=None).exists()


def test_nothing_changed_writes_nothing(environment: Environment, owner: Any) -> None:
    before = AuditEvent.objects.count()
    services.update_environment(
        environment, {"name": environment.name, "url": environment.url + "/"}, actor=owner
    )
    assert AuditEvent.objects.count() == before


def test_history_tells_what_changed_and_no_secret(environment: Environment, owner: Any) -> None:
    services.update_environment(
        environment, {"name": "Development", "secret": "new-secret-text"}, actor=owner
    )
    event = AuditEvent.objects.latest("number")
    assert (event.action, event.object_name) == ("environment:update", resource_name(environment))
    assert event.data == {"name": {"before": "Dev", "after": "Development"}, "secret_changed": True}


# --- Removing -------------------------------------------------------------------------------------


def test_removing_needs_its_name_and_forgets_everything_of_it(
    environment: Environment, superset: FakeSuperset, owner: Any, make_user: Callable[..., Any]
) -> None:
    make_user("local", "viewer", on=resource_name(environment))
    services.run_reading(environment)
    take_snapshot(environment, _read(environment), "reading")
    before = superset.state()
    for wrong in ("", "prod", "de"):
        with pytest.raises(Invalid):
            services.remove_environment(environment, actor=owner, confirm=wrong)
    services.remove_environment(environment, actor=owner, confirm=" DEV ")
    assert not Environment.objects.exists()
    assert not Asset.objects.exists()
    assert not Grant.objects.filter(scope__startswith="environment:").exists()
    assert AuditEvent.objects.latest("number").action == "environment:remove"
    assert superset.state() == before


def test_an_environment_with_work_going_on_stays(environment: Environment, owner: Any) -> None:
    services.request_reading(environment, actor=owner)
    with pytest.raises(Conflict, match="at work"):
        services.remove_environment(environment, actor=owner, confirm="dev")


def test_an_environment_that_a_migration_tells_of_stays_with_the_reason(
    environment: Environment, owner: Any
) -> None:
    from tests.factories import make_environment, make_migration

    make_migration(environment, make_environment("prod"))
    with pytest.raises(Conflict) as caught:
        services.remove_environment(environment, actor=owner, confirm="dev")
    assert caught.value.code == "in_use"
    assert Environment.objects.filter(pk=environment.pk).exists()
    assert AuditEvent.objects.latest("number").action != "environment:remove"


# --- Jobs -----------------------------------------------------------------------------------------


def test_asking_twice_gives_one_job(environment: Environment, owner: Any, author: Any) -> None:
    first = services.request_reading(environment, actor=owner)
    assert services.request_reading(environment, actor=author) == first
    assert services.request_check(environment, actor=author) != first


def test_the_reading_job_fills_the_inventory_and_says_how_far_it_is(
    environment: Environment, owner: Any, run_jobs: Callable[[], int]
) -> None:
    job = services.request_reading(environment, actor=owner)
    run_jobs()
    job.refresh_from_db()
    assert job.state == "succeeded"
    assert job.result["counts"] == {"database": 1, "dataset": 2, "chart": 6, "dashboard": 2}
    steps = list(job.logs.filter(is_step=True).values_list("text", flat=True))
    assert steps == [
        "Listing dashboards",
        "Listing charts",
        "Listing datasets",
        "Listing databases",
        "Exporting everything",
        "Looking for damage",
        "Done",
    ]


def test_a_reading_that_fails_keeps_what_was_known_and_tells_why(
    environment: Environment, superset: FakeSuperset, owner: Any, run_jobs: Callable[[], int]
) -> None:
    services.run_reading(environment)
    superset.users = {}
    superset.expire_tokens()
    job = services.request_reading(environment, actor=owner)
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == ("failed", "unauthorized")
    assert job.error["remedy"]
    fresh = Environment.objects.get(pk=environment.pk)
    assert fresh.inventory_error["code"] == "unauthorized"
    assert fresh.assets.count() == 11
    superset.users = {"admin": PASSWORD}
    services.run_reading(fresh)
    assert Environment.objects.get(pk=environment.pk).inventory_error is None


# --- Keys -----------------------------------------------------------------------------------------


def test_keys_are_rotated(environment: Environment, settings: Any) -> None:
    def stored() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT secret FROM environments_environment")
            return str(cursor.fetchone()[0])

    old, (old_key, *_) = stored(), settings.FIELD_KEYS
    assert PASSWORD not in old
    new_key = Fernet.generate_key().decode()
    settings.FIELD_KEYS = [new_key, old_key]
    call_command("rotate_keys", verbosity=0)
    assert stored() != old
    settings.FIELD_KEYS = [new_key]
    assert str(Environment.objects.get(pk=environment.pk).secret) == PASSWORD


def test_a_lost_key_spoils_no_list_and_the_secret_can_be_entered_again(
    environment: Environment, owner: Any, settings: Any, signed_in: Callable[..., Any]
) -> None:
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    assert signed_in(owner).get("/environments/").status_code == 200
    assert signed_in(owner).get("/environments/dev/").status_code == 200
    report = services.run_check(Environment.objects.get(pk=environment.pk))
    assert (report.problem.name, report.problem.code) == ("credentials", "secret_unreadable")  # type: ignore[union-attr]
    with pytest.raises(Invalid):
        services.update_environment(environment, {"tag": "D"}, actor=owner)
    services.update_environment(environment, {"secret": PASSWORD}, actor=owner)
    assert services.run_check(Environment.objects.get(pk=environment.pk)).ok


def _read(environment: Environment) -> Any:
    with services.connect(environment) as client:
        return read_everything(client, environment)
