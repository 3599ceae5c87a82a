"""Every group of Django's that has members or grants becomes a local group of ours with the same."""

from typing import Any

from django.db import migrations


def copy_groups(apps: Any, schema_editor: Any) -> None:
    Grant, Group = apps.get_model("roles", "Grant"), apps.get_model("roles", "Group")
    Membership = apps.get_model("roles", "Membership")
    for old in apps.get_model("auth", "Group").objects.all():
        # Ours are the same in upper and lower case.
        new = Group.objects.filter(name__iexact=old.name, source="local").first()
        new = new or Group.objects.create(name=old.name, source="local")
        for user in old.user_set.all():
            Membership.objects.get_or_create(group=new, user=user)
        for grant in Grant.objects.filter(django_group=old):
            if Grant.objects.filter(group=new, role=grant.role, scope=grant.scope).exists():
                grant.delete()
                continue
            grant.group, grant.django_group = new, None
            grant.save()


def copy_back(apps: Any, schema_editor: Any) -> None:
    Old = apps.get_model("auth", "Group")
    for new in apps.get_model("roles", "Group").objects.all():
        old, _ = Old.objects.get_or_create(name=new.name[:150])
        old.user_set.add(*[member.user_id for member in new.memberships.all()])
        new.grants.update(django_group=old, group=None)


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("roles", "0002_roles_groups_and_ends"),
    ]

    operations = [migrations.RunPython(copy_groups, copy_back)]
