from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("backups", "0002_restore_points")]

    operations = [
        migrations.AddField(
            model_name="backup",
            name="seen_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
