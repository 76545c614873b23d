from django.core.management import call_command

for revision in "{revision}".split(","):
    call_command("migrate", *revision.split(".", 1), interactive=False)
