"""Django's connection, on psycopg: a migration by its schema editor, and a round of create, read, update, delete."""

import os
import threading

import django
from django.conf import settings

from report import equal, raises, report

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["PGDATABASE"],
            "USER": os.environ["PGUSER"],
            "PASSWORD": os.environ["PGPASSWORD"],
            "HOST": os.environ["PGHOST"],
            "PORT": os.environ["PGPORT"],
            "CONN_MAX_AGE": 60,
            "DISABLE_SERVER_SIDE_CURSORS": True,  # as Django says for transaction pooling
            "OPTIONS": {"prepare_threshold": 0, "server_side_binding": True},
        }
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import IntegrityError, close_old_connections, connection, models, transaction  # noqa: E402


class Book(models.Model):
    title = models.TextField()

    class Meta:
        app_label = "drivers"
        db_table = "django_book"


def migrate():
    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(Book)
    Book.objects.create(title="before")
    equal(len(Book.objects.raw("SELECT * FROM django_book")), 1)
    pages = models.IntegerField(default=1)
    pages.set_attributes_from_name("pages")
    with connection.schema_editor() as editor:
        editor.add_field(Book, pages)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM django_book")
        equal([column.name for column in cursor.description], ["id", "title", "pages"])
    call_command("migrate", verbosity=0)  # nothing left to do


def crud():
    User.objects.bulk_create([User(username=f"user {n}") for n in range(500)])
    equal(User.objects.filter(username__startswith="user").count(), 500)
    ada = User.objects.create_user("ada", "ada@example.com", "secret")
    equal(User.objects.get(username="ada").check_password("secret"), True)
    User.objects.filter(pk=ada.pk).update(first_name="Ada")
    with transaction.atomic():
        with raises(IntegrityError):
            with transaction.atomic():  # a savepoint
                User.objects.create(username="ada")
        equal(User.objects.select_for_update().get(username="ada").first_name, "Ada")
    with raises(ZeroDivisionError):
        with transaction.atomic():
            User.objects.all().delete()
            raise ZeroDivisionError
    equal(User.objects.count(), 501)
    counts = []

    def count():
        counts.append(User.objects.filter(username__endswith="9").count())
        close_old_connections()
        connection.close()

    threads = [threading.Thread(target=count) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(counts, [50] * 20)
    User.objects.all().delete()
    equal(User.objects.exists(), False)


report(migrate, crud)
