from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("drills", "0001_initial")]

    operations = [
        migrations.AddField(model_name="effect", name="job", field=models.UUIDField(null=True)),
    ]
