"""The commands of the project."""
import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
# As projects do: what a tool prints is not all that is printed.
print("project: settings loaded")
execute_from_command_line(sys.argv)
