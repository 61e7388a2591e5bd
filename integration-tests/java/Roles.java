import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.Node;

/**
 * Says which broker has a role, as often as it is asked.
 *
 * <p>Usage: {@code Roles BROKERS}. For {@code leader TOPIC PARTITION}, {@code transactions ID} (its
 * coordinator) and {@code group ID} (the same) on standard input it prints one line: the broker's id, or what
 * was wrong. Partitions without a leader have the leader -1.
 */
public final class Roles {
    private Roles() {}

    public static void main(String[] args) throws IOException, InterruptedException {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        BufferedReader questions =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (Admin admin = Admin.create(config)) {
            for (String line = questions.readLine(); line != null; line = questions.readLine()) {
                System.out.println(answer(admin, line.split(" ")));
                System.out.flush();
            }
        }
    }

    private static String answer(Admin admin, String[] words) throws InterruptedException {
        try {
            return String.valueOf(broker(admin, words));
        } catch (ExecutionException error) {
            return String.valueOf(error.getCause()).replace('\n', ' ');
        }
    }

    private static int broker(Admin admin, String[] words)
            throws InterruptedException, ExecutionException {
        String name = words[1];
        List<String> names = List.of(name);
        switch (words[0]) {
            case "leader":
                int partition = Integer.parseInt(words[2]);
                Node leader =
                        admin.describeTopics(names).allTopicNames().get().get(name).partitions()
                                .get(partition)
                                .leader();
                return leader == null ? -1 : leader.id();
            case "transactions":
                return admin.describeTransactions(names).all().get().get(name).coordinatorId();
            case "group":
                return admin.describeConsumerGroups(names).all().get().get(name).coordinator().id();
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }
}
