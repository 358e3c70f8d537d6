"""A column."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_initial")]
    operations = [
        migrations.AddField(
            model_name="entry",
            name="note",
            field=models.CharField(default="", max_length=50),
        ),
    ]
