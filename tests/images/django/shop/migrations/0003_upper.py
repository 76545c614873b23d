from django.db import migrations


def upper(apps, schema_editor):
    order = apps.get_model("shop", "Order")
    for one in order.objects.all():
        one.symbol = one.symbol.upper()
        one.save()


class Migration(migrations.Migration):
    dependencies = [("shop", "0002_interval")]
    operations = [migrations.RunPython(upper)]
