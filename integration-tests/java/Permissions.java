import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/**
 * Makes users, and gives and takes what they may do, as an administrator.
 *
 * <p>Usage: {@code Permissions BROKERS}. Every line on standard input is answered with one line.
 * {@code user NAME PASSWORD}, {@code grant ACL} and {@code revoke ACL} answer {@code done};
 * {@code known NAME} and {@code granted ACL} ask whether the broker has heard of it. An ACL is
 * {@code USER TYPE PATTERN RESOURCE OPERATION}.
 */
public final class Permissions {
    private static final ScramMechanism MECHANISM = ScramMechanism.SCRAM_SHA_512;

    private Permissions() {}

    public static void main(String[] args)
            throws IOException, InterruptedException, ExecutionException {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        BufferedReader lines =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (Admin admin = Admin.create(config)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                System.out.println(answer(admin, line.split(" ")));
                System.out.flush();
            }
        }
    }

    private static String answer(Admin admin, String[] words)
            throws InterruptedException, ExecutionException {
        switch (words[0]) {
            case "user":
                ScramCredentialInfo info = new ScramCredentialInfo(MECHANISM, 4096);
                admin.alterUserScramCredentials(
                                List.of(new UserScramCredentialUpsertion(words[1], info, words[2])))
                        .all()
                        .get();
                return "done";
            case "known":
                return String.valueOf(
                        admin.describeUserScramCredentials().users().get().contains(words[1]));
            case "grant":
                admin.createAcls(List.of(acl(words))).all().get();
                return "done";
            case "revoke":
                admin.deleteAcls(List.of(acl(words).toFilter())).all().get();
                return "done";
            case "granted":
                return String.valueOf(
                        !admin.describeAcls(acl(words).toFilter()).values().get().isEmpty());
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    private static AclBinding acl(String[] words) {
        return new AclBinding(
                new ResourcePattern(
                        ResourceType.valueOf(words[2]), words[4], PatternType.valueOf(words[3])),
                new AccessControlEntry(
                        "User:" + words[1],
                        "*",
                        AclOperation.valueOf(words[5]),
                        AclPermissionType.ALLOW));
    }
}
