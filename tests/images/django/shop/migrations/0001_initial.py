from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations = [
        migrations.CreateModel(
            "Order",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("symbol", models.TextField()),
                ("customer", models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True)),
            ],
        ),
    ]
