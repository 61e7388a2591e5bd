import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.TransactionListing;

/**
 * Says which transactions the coordinator has, as often as it is asked.
 *
 * <p>Usage: {@code Transactions BROKERS}. For every line on standard input it prints one line:
 * {@code id=State} of every transactional id it knows, separated by tabs. It stays up because a
 * test asks many times within the few milliseconds that a transaction is open.
 */
public final class Transactions {
    private Transactions() {}

    public static void main(String[] args)
            throws IOException, InterruptedException, ExecutionException {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        BufferedReader questions =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (Admin admin = Admin.create(config)) {
            while (questions.readLine() != null) {
                System.out.println(
                        admin.listTransactions().all().get().stream()
                                .map(Transactions::describe)
                                .collect(Collectors.joining("\t")));
                System.out.flush();
            }
        }
    }

    private static String describe(TransactionListing listing) {
        return listing.transactionalId() + '=' + listing.state();
    }
}
