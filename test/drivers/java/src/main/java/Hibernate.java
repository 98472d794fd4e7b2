import jakarta.persistence.CascadeType;
import jakarta.persistence.Column;
import jakarta.persistence.Entity;
import jakarta.persistence.GeneratedValue;
import jakarta.persistence.Id;
import jakarta.persistence.OneToMany;
import jakarta.persistence.Table;
import java.util.ArrayList;
import java.util.List;
import org.hibernate.SessionFactory;
import org.hibernate.cfg.Configuration;
import org.hibernate.exception.ConstraintViolationException;

/** Hibernate on pgjdbc: makes and updates the schema by itself, then a round of create, read, update, delete. */
public final class Hibernate {
  @Entity
  @Table(name = "author")
  static class Author {
    @Id @GeneratedValue Long id;

    @Column(unique = true)
    String name;

    @OneToMany(cascade = CascadeType.ALL, orphanRemoval = true)
    List<Book> books = new ArrayList<>();
  }

  @Entity
  @Table(name = "book")
  static class Book {
    @Id @GeneratedValue Long id;
    String title;
  }

  /** A later version of Book. */
  @Entity
  @Table(name = "book")
  static class BookWithPages {
    @Id @GeneratedValue Long id;
    String title;
    Integer pages;
  }

  private static SessionFactory open(Class<?>... entities) {
    Configuration configuration = new Configuration();
    for (Class<?> entity : entities) configuration.addAnnotatedClass(entity);
    return configuration
        .setProperty("hibernate.connection.url", Pgjdbc.url() + "?sslmode=disable&prepareThreshold=1")
        .setProperty("hibernate.connection.username", System.getenv("PGUSER"))
        .setProperty("hibernate.connection.password", System.getenv("PGPASSWORD"))
        .setProperty("hibernate.connection.pool_size", "5")
        .setProperty("hibernate.jdbc.batch_size", "20")
        .setProperty("hibernate.hbm2ddl.auto", "update")
        .buildSessionFactory();
  }

  public static void main(String[] arguments) {
    Report report = new Report();
    report.check("migrate", Hibernate::migrate);
    report.check("crud", Hibernate::crud);
    report.end();
  }

  private static void migrate() {
    try (SessionFactory factory = open(Author.class, Book.class)) {
      Book book = new Book();
      book.title = "before";
      factory.inTransaction(session -> session.persist(book));
    }
    try (SessionFactory factory = open(BookWithPages.class)) {
      factory.inTransaction(
          session -> {
            BookWithPages book = session.createSelectionQuery("from Hibernate$BookWithPages", BookWithPages.class).getSingleResult();
            Report.equal(book.pages, null);
            book.pages = 7;
          });
      factory.inTransaction(session -> session.createMutationQuery("delete from Hibernate$BookWithPages").executeUpdate());
    }
  }

  private static Author named(org.hibernate.Session session, String name) {
    return session
        .createSelectionQuery("from Hibernate$Author a left join fetch a.books where a.name = :name", Author.class)
        .setParameter("name", name)
        .getSingleResultOrNull();
  }

  private static Author author(String name) {
    Author author = new Author();
    author.name = name;
    for (int n = 0; n < 30; n++) {
      Book book = new Book();
      book.title = "book " + n;
      author.books.add(book);
    }
    return author;
  }

  private static void crud() {
    try (SessionFactory factory = open(Author.class, Book.class)) {
      factory.inTransaction(session -> session.persist(author("Ada")));
      factory.inTransaction(
          session -> {
            Author found = named(session, "Ada");
            Report.equal(found.books.size(), 30);
            found.name = "Ada L.";
            found.books.remove(0);
          });
      try {
        factory.inTransaction(session -> session.persist(author("Ada L.")));
        throw new AssertionError("no error");
      } catch (ConstraintViolationException expected) {
        Report.equal(expected.getSQLState(), "23505");
      }
      factory.inTransaction(session -> Report.equal(named(session, "Ada L.").books.size(), 29));
      factory.inTransaction(session -> session.remove(named(session, "Ada L.")));
      factory.inTransaction(session -> Report.equal(named(session, "Ada L."), null));
    }
  }
}
