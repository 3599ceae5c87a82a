"""Custom roles, groups of our own instead of Django's, grants that end. Django's groups are copied in 0003."""

import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("roles", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="AccessLock",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            ],
        ),
        migrations.CreateModel(
            name="Account",
            fields=[
                ("user", models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name="account", serialize=False, to=settings.AUTH_USER_MODEL)),
                ("source", models.CharField(choices=[("local", "ss-tools"), ("adfs", "directory")], default="local", max_length=10)),
                ("synced_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="CustomRole",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.SlugField(editable=False, unique=True)),
                ("name", models.CharField(max_length=100, unique=True)),
                ("description", models.CharField(blank=True, max_length=500)),
                ("permissions", models.JSONField(default=list)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("created_by", models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to=settings.AUTH_USER_MODEL)),
            ],
            options={"ordering": ["name"]},
        ),
        migrations.CreateModel(
            name="Group",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=255)),
                ("source", models.CharField(choices=[("local", "ss-tools"), ("adfs", "directory")], default="local", max_length=10)),
                ("description", models.CharField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("seen_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ["name", "source"],
                "constraints": [
                    models.UniqueConstraint(
                        django.db.models.functions.text.Lower("name"),
                        models.F("source"),
                        name="one_such_group_per_source",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Membership",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("group", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="memberships", to="roles.group")),
                ("user", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="memberships", to=settings.AUTH_USER_MODEL)),
            ],
            options={
                "ordering": ["id"],
                "constraints": [models.UniqueConstraint(fields=("group", "user"), name="a_member_once")],
            },
        ),
        migrations.AddField(
            model_name="group",
            name="members",
            field=models.ManyToManyField(related_name="access_groups", through="roles.Membership", to=settings.AUTH_USER_MODEL),
        ),
        migrations.AlterField(model_name="grant", name="role", field=models.CharField(max_length=50)),
        migrations.AddField(
            model_name="grant", name="expires_at", field=models.DateTimeField(blank=True, null=True)
        ),
        migrations.AddField(
            model_name="grant", name="reason", field=models.CharField(blank=True, max_length=500)
        ),
        migrations.AddIndex(
            model_name="grant", index=models.Index(fields=["scope", "role"], name="grants_by_scope")
        ),
        migrations.RemoveConstraint(model_name="grant", name="a_grant_is_for_a_user_or_a_group"),
        migrations.RemoveConstraint(model_name="grant", name="one_such_grant_per_group"),
        # Without its index: PostgreSQL keeps the name of an index when a column is renamed, and the new `group` needs it.
        migrations.AlterField(
            model_name="grant",
            name="group",
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name="grants", to="auth.group"),
        ),
        migrations.RenameField(model_name="grant", old_name="group", new_name="django_group"),
        migrations.AddField(
            model_name="grant",
            name="group",
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name="grants", to="roles.group"),
        ),
    ]
