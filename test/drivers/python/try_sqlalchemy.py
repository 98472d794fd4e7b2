"""SQLAlchemy on psycopg and on asyncpg: the schema made and altered, and a round of create, read, update, delete."""

import asyncio
import os

from sqlalchemy import ForeignKey, String, create_engine, inspect, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

from report import equal, raises, report


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
    books: Mapped[list["Book"]] = relationship(cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    pages: Mapped[int] = mapped_column(server_default="1")
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))


def url(driver):
    env = os.environ
    password = env["PGPASSWORD"].replace(" ", "%20")
    return f"postgresql+{driver}://{env['PGUSER']}:{password}@{env['PGHOST']}:{env['PGPORT']}/{env['PGDATABASE']}"


engine = create_engine(url("psycopg"), connect_args={"prepare_threshold": 0})


def migrate():
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add(Author(name="old", books=[Book(title="before")]))
    with engine.begin() as connection:
        connection.execute(text("SELECT * FROM book")).all()
        connection.execute(text("ALTER TABLE book ADD COLUMN isbn text DEFAULT 'none'"))
    with engine.connect() as connection:
        equal(connection.execute(text("SELECT * FROM book")).mappings().one()["isbn"], "none")
    Base.metadata.create_all(engine)  # nothing left to do
    equal({"author", "book"} <= set(inspect(engine).get_table_names()), True)


def crud():
    with Session(engine) as session:
        session.add(Author(name="Ada", books=[Book(title=f"book {n}", pages=n) for n in range(1000)]))
        session.commit()
        ada = session.scalars(select(Author).where(Author.name == "Ada")).one()
        equal(len(ada.books), 1000)
        ada.name = "Ada L."
        session.commit()
        session.add(Author(name="Ada L."))
        with raises(IntegrityError):
            session.flush()
        session.rollback()
        session.delete(ada)
        session.commit()
        equal(session.scalars(select(Author).where(Author.name == "Ada L.")).all(), [])
    asyncio.run(crud_async())


async def crud_async():
    engine = create_async_engine(url("asyncpg"), pool_size=10)
    sessions = async_sessionmaker(engine, expire_on_commit=False)

    async def life_of(name):
        async with sessions() as session, session.begin():
            session.add(Author(name=name, books=[Book(title="one"), Book(title="two")]))
        async with sessions() as session, session.begin():
            found = select(Author).where(Author.name == name).options(selectinload(Author.books))
            author = (await session.scalars(found)).one()
            equal([book.title for book in author.books], ["one", "two"])
            await session.delete(author)

    await asyncio.gather(*[life_of(f"author {n}") for n in range(20)])
    await engine.dispose()


report(migrate, crud)
