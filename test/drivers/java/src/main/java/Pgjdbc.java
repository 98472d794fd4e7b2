import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

/** pgjdbc with prepareThreshold=1: every statement is a named one on the server; batches, autosave, COPY. */
public final class Pgjdbc {
  public static void main(String[] arguments) {
    Report report = new Report();
    report.check("connect", Pgjdbc::connect);
    report.check("types", Pgjdbc::types);
    report.check("prepared", Pgjdbc::prepared);
    report.check("shared", Pgjdbc::shared);
    report.check("batch", Pgjdbc::batch);
    report.check("copy", Pgjdbc::copy);
    report.check("cancel", Pgjdbc::cancel);
    report.check("error", Pgjdbc::error);
    report.check("reconnect", Pgjdbc::reconnect);
    report.check("altered", Pgjdbc::altered);
    report.end();
  }

  static String url() {
    Map<String, String> env = System.getenv();
    return "jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE");
  }

  private static Connection open(String more) throws SQLException {
    String url = url() + "?sslmode=disable&prepareThreshold=1&" + more;
    return DriverManager.getConnection(url, System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
  }

  private static Connection open() throws SQLException {
    return open("");
  }

  /** The columns of the only row, as texts, joined by spaces. */
  private static String row(Connection connection, String sql, Object... values) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      return row(statement, values);
    }
  }

  private static String row(PreparedStatement statement, Object... values) throws SQLException {
    for (int i = 0; i < values.length; i++) statement.setObject(i + 1, values[i]);
    try (ResultSet rows = statement.executeQuery()) {
      List<String> columns = new ArrayList<>();
      Report.equal(rows.next(), true);
      for (int i = 1; i <= rows.getMetaData().getColumnCount(); i++) columns.add(rows.getString(i));
      Report.equal(rows.next(), false);
      return String.join(" ", columns);
    }
  }

  private static void run(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.execute(sql);
    }
  }

  private static SQLException failure(Report.Check check) throws Exception {
    try {
      check.run();
    } catch (SQLException error) {
      return error;
    }
    throw new AssertionError("no error");
  }

  private static void connect() throws Exception {
    try (Connection connection = open()) {
      Report.equal(row(connection, "SELECT current_user"), "scram_user");
    }
    SQLException wrong = failure(() -> DriverManager.getConnection(url(), System.getenv("PGUSER"), "wrong").close());
    Report.equal(wrong.getMessage().contains("authentication failed"), true);
  }

  private static void types() throws Exception {
    Map<String, Object> values = new LinkedHashMap<>();
    values.put("a_bool", true);
    values.put("a_int2", -32768);
    values.put("a_int4", 2147483647);
    values.put("a_int8", Long.MIN_VALUE);
    values.put("a_float4", 1.5f);
    values.put("a_float8", -1e300);
    values.put("a_numeric", new BigDecimal("12345678901234567890.123456789"));
    values.put("a_text", "naïve 'quoted' \\ text ☃ \n");
    values.put("a_varchar", "");
    values.put("a_char", "abc  ");
    values.put("a_bytea", new byte[] {0, 1, '\\', '\'', -1});
    values.put("a_date", LocalDate.of(2024, 2, 29));
    values.put("a_time", LocalTime.of(23, 59, 59, 123456000));
    values.put("a_timestamp", LocalDateTime.of(1999, 12, 31, 23, 59, 59, 999999000));
    values.put("a_timestamptz", OffsetDateTime.of(2024, 2, 29, 12, 0, 0, 0, ZoneOffset.UTC));
    values.put("a_uuid", UUID.fromString("00112233-4455-6677-8899-aabbccddeeff"));
    values.put("a_ints", new Integer[] {1, -2, 3});
    values.put("a_texts", new String[] {"a", "with, comma", "\"quoted\"", ""});
    String columns = String.join(", ", values.keySet());
    String places = ", ?".repeat(values.size()).substring(2);
    try (Connection connection = open()) {
      PreparedStatement insert =
          connection.prepareStatement("INSERT INTO basic_types (id, " + columns + ") VALUES (?, " + places + ")");
      for (int id = 1; id <= 2; id++) {
        insert.setInt(1, id);
        int at = 2;
        for (Object value : values.values()) {
          if (id == 2) insert.setNull(at++, Types.NULL);
          else insert.setObject(at++, value);
        }
        Report.equal(insert.executeUpdate(), 1);
      }
      // Asked several times: from the second on, pgjdbc takes what it can in binary.
      PreparedStatement select = connection.prepareStatement("SELECT " + columns + " FROM basic_types ORDER BY id");
      for (int round = 0; round < 4; round++) {
        try (ResultSet rows = select.executeQuery()) {
          Report.equal(rows.next(), true);
          for (Map.Entry<String, Object> entry : values.entrySet()) {
            Object value = entry.getValue();
            Object got =
                value.getClass().isArray() && !(value instanceof byte[])
                    ? rows.getArray(entry.getKey()).getArray()
                    : value instanceof byte[]
                        ? rows.getBytes(entry.getKey())
                        : rows.getObject(entry.getKey(), value.getClass());
            Report.equal(got, value);
          }
          Report.equal(rows.next(), true);
          for (String column : values.keySet()) Report.equal(rows.getObject(column), null);
        }
      }
      String large = "ü".repeat(3_000_000);
      Report.equal(row(connection, "SELECT ?::text", large).equals(large), true);
    }
  }

  interface WithServer {
    void use(int pid) throws Exception;
  }

  /** Calls use with each of the two servers as the only one that is free. */
  private static void onEachServer(WithServer with) throws Exception {
    try (Connection first = open();
        Connection second = open()) {
      Map<Connection, Integer> holders = new LinkedHashMap<>();
      for (Connection holder : List.of(first, second)) {
        holder.setAutoCommit(false);
        holders.put(holder, Integer.parseInt(row(holder, "SELECT pg_backend_pid()")));
      }
      Report.equal(holders.get(first).equals(holders.get(second)), false);
      for (Map.Entry<Connection, Integer> holder : holders.entrySet()) {
        holder.getKey().rollback();
        with.use(holder.getValue());
        row(holder.getKey(), "SELECT 1"); // begins again
      }
    }
  }

  private static void prepared() throws Exception {
    try (Connection connection = open();
        PreparedStatement twice = connection.prepareStatement("SELECT ? * 2, pg_backend_pid()")) {
      row(twice, 1);
      onEachServer(pid -> Report.equal(row(twice, pid), pid * 2 + " " + pid));
    }
  }

  private static void shared() throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(20);
    List<Future<Void>> asked = new ArrayList<>();
    for (int client = 0; client < 20; client++) {
      int who = client;
      Callable<Void> ask =
          () -> {
            try (Connection connection = open();
                PreparedStatement same = connection.prepareStatement("SELECT " + who % 4 + ", ?")) {
              for (int n = 0; n < 50; n++) Report.equal(row(same, n), who % 4 + " " + n);
            }
            return null;
          };
      asked.add(threads.submit(ask));
    }
    for (Future<Void> answer : asked) answer.get();
    threads.shutdown();
  }

  private static void batch() throws Exception {
    for (String rewrite : List.of("false", "true")) {
      try (Connection connection = open("reWriteBatchedInserts=" + rewrite);
          PreparedStatement insert = connection.prepareStatement("INSERT INTO items VALUES (?, ?)")) {
        for (int n = 0; n < 1000; n++) {
          insert.setInt(1, n);
          insert.setString(2, "name " + n);
          insert.addBatch();
        }
        Report.equal(insert.executeBatch().length, 1000);
        for (int n : new int[] {2000, 1, 2001}) {
          insert.setInt(1, n);
          insert.setString(2, "again");
          insert.addBatch();
        }
        SQLException error = failure(insert::executeBatch);
        Report.equal(error instanceof BatchUpdateException, true);
        Report.equal(error.getSQLState(), "23505");
        Report.equal(row(connection, "SELECT count(*) FROM items"), "1000");
        run(connection, "SELECT 1; SELECT 2; TRUNCATE items");
        try (PreparedStatement several = connection.prepareStatement("SELECT ?; SELECT ?")) {
          several.setInt(1, 1);
          several.setInt(2, 2);
          several.execute();
          Report.equal(several.getMoreResults(), true);
        }
        // A portal that is read in parts.
        connection.setAutoCommit(false);
        try (PreparedStatement portal = connection.prepareStatement("SELECT generate_series(1, ?)")) {
          portal.setFetchSize(7);
          portal.setInt(1, 100);
          int seen = 0;
          try (ResultSet rows = portal.executeQuery()) {
            while (rows.next()) Report.equal(rows.getInt(1), ++seen);
          }
          Report.equal(seen, 100);
        }
        connection.rollback();
      }
    }
  }

  private static void copy() throws Exception {
    try (Connection connection = open()) {
      CopyManager manager = connection.unwrap(PGConnection.class).getCopyAPI();
      StringBuilder rows = new StringBuilder();
      for (int n = 0; n < 5000; n++) rows.append(n).append("\tnäme ").append(n).append('\n');
      byte[] bytes = rows.toString().getBytes(StandardCharsets.UTF_8);
      Report.equal(manager.copyIn("COPY items FROM STDIN", new ByteArrayInputStream(bytes)), 5000L);
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      manager.copyOut("COPY (SELECT * FROM items ORDER BY id) TO STDOUT", out);
      Report.equal(out.toByteArray(), bytes);
      SQLException error = failure(() -> manager.copyIn("COPY items FROM STDIN", new ByteArrayInputStream(bytes)));
      Report.equal(error.getSQLState(), "23505");
      manager.copyIn("COPY items FROM STDIN").cancelCopy();
      Report.equal(row(connection, "SELECT count(*) FROM items"), "5000");
      run(connection, "TRUNCATE items");
    }
  }

  private static void cancel() throws Exception {
    String running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(60)%'";
    try (Connection connection = open();
        Connection watcher = open();
        Statement statement = connection.createStatement()) {
      Thread canceller =
          new Thread(
              () -> {
                try {
                  while (row(watcher, running).equals("0")) {}
                  statement.cancel();
                } catch (SQLException error) {
                  error.printStackTrace();
                }
              });
      canceller.start();
      Report.equal(failure(() -> statement.execute("SELECT pg_sleep(60)")).getSQLState(), "57014");
      canceller.join();
      Report.equal(row(connection, "SELECT 1"), "1");
      statement.setQueryTimeout(1); // cancels too
      Report.equal(failure(() -> statement.execute("SELECT pg_sleep(60)")).getSQLState(), "57014");
      Report.equal(row(connection, "SELECT 1"), "1");
    }
  }

  private static void error() throws Exception {
    try (Connection connection = open()) {
      connection.setAutoCommit(false);
      run(connection, "INSERT INTO items VALUES (1, 'one')");
      java.sql.Savepoint here = connection.setSavepoint();
      Report.equal(failure(() -> row(connection, "SELECT 1 / ?", 0)).getSQLState(), "22012");
      Report.equal(failure(() -> row(connection, "SELECT 1")).getSQLState(), "25P02");
      connection.rollback(here);
      Report.equal(row(connection, "SELECT name FROM items"), "one");
      connection.rollback();
      Report.equal(row(connection, "SELECT count(*) FROM items"), "0");
      connection.rollback();
    }
    // With autosave, the transaction goes on behind an error.
    try (Connection connection = open("autosave=always")) {
      connection.setAutoCommit(false);
      run(connection, "INSERT INTO items VALUES (1, 'one')");
      for (int i = 0; i < 3; i++) Report.equal(failure(() -> row(connection, "SELECT 1 / ?", 0)).getSQLState(), "22012");
      Report.equal(row(connection, "SELECT name FROM items"), "one");
      connection.commit();
      Report.equal(row(connection, "SELECT count(*) FROM items"), "1");
      run(connection, "TRUNCATE items");
      connection.commit();
    }
  }

  private static void reconnect() throws Exception {
    try (Connection connection = open()) {
      connection.setAutoCommit(false);
      Report.equal(failure(() -> row(connection, "SELECT pg_terminate_backend(pg_backend_pid())")).getSQLState(), "57P01");
      Report.equal(connection.isValid(1), false);
    }
    try (Connection connection = open()) {
      Report.equal(row(connection, "SELECT 1"), "1");
    }
  }

  private static void altered() throws Exception {
    for (String autosave : List.of("never", "conservative")) {
      try (Connection connection = open("autosave=" + autosave);
          Connection other = open();
          PreparedStatement select = connection.prepareStatement("SELECT * FROM altered")) {
        connection.setAutoCommit(autosave.equals("never"));
        onEachServer(
            pid -> {
              Report.equal(row(select), "1");
              if (!connection.getAutoCommit()) connection.rollback();
            });
        run(other, "ALTER TABLE altered ADD COLUMN b int DEFAULT 2");
        onEachServer(
            pid -> {
              Report.equal(row(select), "1 2");
              if (!connection.getAutoCommit()) connection.rollback();
            });
        run(other, "ALTER TABLE altered DROP COLUMN b");
      }
    }
  }
}
