"""Who may do what: every role against every permission, scopes, groups, tokens."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, transaction
from django.utils import timezone

from sstools.audit.models import AuditEvent
from sstools.errors import Invalid, NotAllowed, NotFoundError
from sstools.roles import policy, services, tokens
from sstools.roles.models import ApiToken, Grant, Group, Membership
from sstools.roles.permissions import ROLES, Permission

pytestmark = pytest.mark.django_db
PROD, DEV = "environment:prod", "environment:dev"

# The table: what a role may do. A permission that is not named here is for Admins alone.
TABLE = {
    Permission.ASSET_VIEW: {"viewer", "author", "release_lead", "admin"},
    Permission.BACKUP_VIEW: {"viewer", "author", "release_lead", "admin"},
    Permission.BACKUP_CREATE: {"author", "release_lead", "admin"},
    Permission.BACKUP_PIN: {"release_lead", "admin"},
    Permission.ENVIRONMENT_VIEW: {"viewer", "author", "release_lead", "admin"},
    Permission.JOB_VIEW: {"viewer", "author", "release_lead", "admin"},
    Permission.PLUGIN_RUN: {"author", "release_lead", "admin"},
    Permission.PLUGIN_VIEW: {"viewer", "author", "release_lead", "admin"},
    Permission.REPOSITORY_VIEW: {"viewer", "author", "release_lead", "admin"},
    Permission.REPOSITORY_COMMIT: {"author", "release_lead", "admin"},
    Permission.MIGRATION_VIEW: {"viewer", "author", "release_lead", "admin"},
    Permission.SCHEDULE_VIEW: {"viewer", "author", "release_lead", "admin"},
    Permission.SCHEDULE_EDIT: {"author", "release_lead", "admin"},
    Permission.ENVIRONMENT_TEST: {"author", "release_lead", "admin"},
    Permission.MIGRATION_PLAN: {"author", "release_lead", "admin"},
    Permission.AUDIT_VIEW: {"release_lead", "admin"},
    Permission.DRIFT_ACCEPT: {"release_lead", "admin"},
    Permission.JOB_CANCEL: {"release_lead", "admin"},
    Permission.MIGRATION_APPLY: {"release_lead", "admin"},
    Permission.MIGRATION_APPROVE: {"release_lead", "admin"},
    Permission.MIGRATION_PRUNE: {"admin"},
    Permission.MIGRATION_ROLLBACK: {"release_lead", "admin"},
}


@pytest.mark.parametrize("role", ROLES)
def test_the_table_of_roles(make_user, role):
    user = make_user("ann", role)
    allowed = {permission for permission in Permission if policy.can(user, permission, PROD)}
    assert allowed == {permission for permission in Permission if role in TABLE.get(permission, {"admin"})}


def test_permissions_are_in_alphabetical_order_and_named_noun_verb():
    values = [str(permission) for permission in Permission]
    assert values == sorted(values)
    assert all(value.count(":") == 1 for value in values)


def test_a_role_on_one_environment_says_nothing_of_another(make_user):
    user = make_user("ann", "release_lead", on=PROD)
    assert policy.can(user, Permission.MIGRATION_APPLY, PROD)
    assert not policy.can(user, Permission.MIGRATION_APPLY, DEV)
    assert not policy.can(user, Permission.MIGRATION_APPLY)
    assert policy.can_anywhere(user, Permission.MIGRATION_APPLY)
    assert policy.scopes(user, Permission.MIGRATION_APPLY).resources == {PROD}


def test_roles_through_groups_and_directly_add_up(make_user):
    user, group = make_user("ann", "viewer"), Group.objects.create(name="releasers")
    Grant.objects.create(group=group, role="release_lead", scope=PROD)
    Membership.objects.create(user=user, group=group)
    assert policy.can(user, Permission.MIGRATION_APPLY, PROD)
    assert not policy.can(user, Permission.MIGRATION_APPLY, DEV)
    assert policy.can(user, Permission.ASSET_VIEW, DEV)
    assert "releasers" in policy.explain(user, Permission.MIGRATION_APPLY, PROD).sentence


def test_strangers_anonymous_and_disabled_people_may_nothing(stranger, make_user):
    disabled = make_user("left", "admin", is_active=False)
    disabled_root = make_user("old_root", is_active=False, is_superuser=True)
    for user in (stranger, AnonymousUser(), disabled, disabled_root):
        assert not any(policy.can_anywhere(user, permission) for permission in Permission)


def test_superusers_may_everything(make_user):
    root = make_user("root", is_superuser=True)
    assert all(policy.can(root, permission) for permission in Permission)


def test_a_refusal_names_what_is_missing_and_who_has_it(author):
    with pytest.raises(NotAllowed) as refused:
        policy.require(author, Permission.MIGRATION_APPLY, PROD)
    assert "migration:apply" in refused.value.message
    assert "Release lead" in refused.value.message
    assert (refused.value.code, refused.value.status) == ("not_allowed", 403)


def test_asking_often_costs_one_query(author, django_assert_num_queries):
    with django_assert_num_queries(1):
        for permission in Permission:
            policy.can(author, permission, PROD)


def test_a_role_that_no_longer_exists_gives_nothing(stranger):
    Grant.objects.create(user=stranger, role="ghost")
    assert not policy.can_anywhere(stranger, Permission.ASSET_VIEW)


# --- Giving and taking


def test_giving_and_taking_a_role_works_at_once_and_is_in_the_history(admin, stranger):
    assert not policy.can(stranger, Permission.ASSET_VIEW)
    row = services.grant("viewer", actor=admin, user=stranger)
    assert services.grant("viewer", actor=admin, user=stranger) == row
    assert policy.can(stranger, Permission.ASSET_VIEW)
    services.revoke(Grant.objects.select_related("user").get(pk=row.pk), actor=admin)
    policy.forget(stranger)
    assert not policy.can(stranger, Permission.ASSET_VIEW)
    assert list(AuditEvent.objects.order_by("number").values_list("action", flat=True)) == [
        "role:grant",
        "role:revoke",
    ]


def test_only_admins_give_roles_and_only_known_ones(admin, release_lead, stranger):
    with pytest.raises(NotAllowed):
        services.grant("viewer", actor=release_lead, user=stranger)
    with pytest.raises(Invalid):
        services.grant("king", actor=admin, user=stranger)
    with pytest.raises(Invalid):
        services.grant("viewer", actor=admin)
    assert not Grant.objects.filter(user=stranger).exists()


def test_the_database_refuses_a_grant_for_nobody_and_a_second_one(stranger):
    with pytest.raises(IntegrityError), transaction.atomic():
        Grant.objects.create(role="viewer")
    Grant.objects.create(role="viewer", user=stranger)
    with pytest.raises(IntegrityError), transaction.atomic():
        Grant.objects.create(role="viewer", user=stranger)


# --- Tokens


def test_a_token_is_kept_as_a_hash_and_gives_its_user(author):
    row, text = tokens.create_token(author, name="nightly", days=7)
    assert text.startswith("sst_")
    assert len(text) > 40
    assert text not in str(ApiToken.objects.values())
    assert tokens.token_for(text) == row
    assert row.prefix == text[: len(row.prefix)]


@pytest.mark.parametrize("spoil", ["revoke", "expire", "disable", "wrong", "prefix"])
def test_a_token_that_must_not_work(author, spoil):
    row, text = tokens.create_token(author, name="x", days=1)
    if spoil == "revoke":
        tokens.revoke_token(row.pk, actor=author)
    elif spoil == "expire":
        ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif spoil == "disable":
        author.is_active = False
        author.save()
    elif spoil == "wrong":
        text = text[:-1] + ("a" if text[-1] != "a" else "b")
    else:
        text = text.removeprefix("sst_")
    assert tokens.token_for(text) is None


def test_tokens_of_others_are_revoked_by_admins_alone(author, viewer, admin):
    row, text = tokens.create_token(author, name="x")
    with pytest.raises(NotFoundError):
        tokens.revoke_token(row.pk, actor=viewer)
    assert tokens.token_for(text) is not None
    tokens.revoke_token(row.pk, actor=admin)
    assert tokens.token_for(text) is None


def test_when_a_token_was_used_is_written_at_most_once_a_minute(author, django_assert_num_queries):
    _, text = tokens.create_token(author, name="x")
    tokens.token_for(text)
    with django_assert_num_queries(1):
        tokens.token_for(text)
    assert ApiToken.objects.get().last_used_at is not None
