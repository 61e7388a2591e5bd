import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Prints what a topic's readers may see, one JSON line per record.
 *
 * <p>Usage: {@code ReadCommitted BROKERS TOPIC}. It reads read_committed from the log's start to the
 * last stable offset at the time of the call, partition by partition in offset order. Keys, values
 * and header values are base64; a null is JSON's null.
 */
public final class ReadCommitted {
    private static final Duration DEADLINE = Duration.ofSeconds(60);

    private ReadCommitted() {}

    public static void main(String[] args) {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        config.put("isolation.level", "read_committed");
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "none");
        StringBuilder out = new StringBuilder();
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions =
                    consumer.partitionsFor(args[1]).stream()
                            .map(info -> new TopicPartition(info.topic(), info.partition()))
                            .collect(Collectors.toList());
            // For a read_committed consumer these are the last stable offsets.
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            for (TopicPartition partition : partitions) {
                consumer.assign(List.of(partition));
                consumer.seekToBeginning(List.of(partition));
                readTo(ends.get(partition), consumer, partition, out);
            }
        }
        System.out.print(out);
        System.out.flush();
    }

    private static void readTo(
            long end, KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition, StringBuilder out) {
        long giveUp = System.nanoTime() + DEADLINE.toNanos();
        while (consumer.position(partition) < end) {
            if (System.nanoTime() > giveUp) {
                throw new IllegalStateException(
                        partition + " is still at " + consumer.position(partition) + " of " + end);
            }
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                if (record.offset() < end) {
                    print(record, out);
                }
            }
        }
    }

    private static void print(ConsumerRecord<byte[], byte[]> record, StringBuilder out) {
        out.append("{\"partition\":").append(record.partition());
        out.append(",\"offset\":").append(record.offset());
        out.append(",\"timestamp\":").append(record.timestamp());
        out.append(",\"key\":").append(base64(record.key()));
        out.append(",\"value\":").append(base64(record.value()));
        out.append(",\"headers\":[");
        String separator = "";
        for (Header header : record.headers()) {
            out.append(separator).append("[\"").append(header.key()).append("\",");
            out.append(base64(header.value())).append(']');
            separator = ",";
        }
        out.append("]}\n");
    }

    private static String base64(byte[] bytes) {
        return bytes == null ? "null" : '"' + Base64.getEncoder().encodeToString(bytes) + '"';
    }
}
