import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** Runs checks one after another, each with a time limit, and says how each went. */
final class Report {
  private static final int LIMIT = 30; // seconds a check

  private boolean failed = false;

  interface Check {
    void run() throws Exception;
  }

  /** Prints `ok NAME`, or `not ok NAME: why`. */
  void check(String name, Check check) {
    ExecutorService executor = Executors.newSingleThreadExecutor();
    Callable<Void> task =
        () -> {
          check.run();
          return null;
        };
    try {
      executor.submit(task).get(LIMIT, TimeUnit.SECONDS);
      System.out.println("ok " + name);
    } catch (Exception error) {
      failed = true;
      Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
      System.out.println(("not ok " + name + ": " + cause).replace('\n', ' '));
      cause.printStackTrace();
    } finally {
      executor.shutdownNow();
    }
  }

  /** Ends the program. */
  void end() {
    System.exit(failed ? 1 : 0);
  }

  static void equal(Object got, Object expected) {
    if (!Objects.deepEquals(got, expected)) throw new AssertionError("got " + got + ", not " + expected);
  }
}
