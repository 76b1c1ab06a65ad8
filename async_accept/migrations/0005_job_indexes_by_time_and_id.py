from django.db import migrations, models


class Migration(migrations.Migration):
    """Order lists by time and id, as the admin asks for them; and let MariaDB read only what a page shows."""

    dependencies = [("async_accept", "0004_relay_duty")]

    operations = [
        migrations.RemoveIndex(model_name="job", name="async_accept_created"),
        migrations.RemoveIndex(model_name="job", name="async_accept_state"),
        migrations.RemoveIndex(model_name="job", name="async_accept_operation"),
        migrations.RemoveIndex(model_name="job", name="async_accept_failed"),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(fields=["created_at", "id", "forgotten"], name="async_accept_created"),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(fields=["state", "created_at", "id", "forgotten"], name="async_accept_state"),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                fields=["operation", "created_at", "id", "state", "forgotten"], name="async_accept_operation"
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("state", "failed")),
                fields=["state", "finished_at"],
                name="async_accept_failed",
            ),
        ),
    ]
