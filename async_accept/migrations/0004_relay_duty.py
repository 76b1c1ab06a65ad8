from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("async_accept", "0003_job_order_key_and_kept_until")]

    operations = [
        migrations.CreateModel(
            name="RelayDuty",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("relay", models.UUIDField()),
                ("until", models.DateTimeField()),
                ("next_look", models.DateTimeField()),
            ],
            options={"default_permissions": ()},
        ),
    ]
