from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("roles", "0003_copy_groups")]

    operations = [
        migrations.RemoveField(model_name="grant", name="django_group"),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=Q(user__isnull=True, group__isnull=False)
                | Q(user__isnull=False, group__isnull=True),
                name="a_grant_is_for_a_user_or_a_group",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.UniqueConstraint(
                fields=["group", "role", "scope"],
                condition=Q(group__isnull=False),
                name="one_such_grant_per_group",
            ),
        ),
    ]
