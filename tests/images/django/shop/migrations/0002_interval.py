from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial"), ("sites", "0002_alter_domain_unique")]
    operations = [
        migrations.AddField("order", "interval", models.TextField(null=True)),
        migrations.CreateModel(
            "Note",
            [("id", models.BigAutoField(primary_key=True)), ("text", models.TextField())],
        ),
    ]
