import java.io.BufferedReader;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.AddOffsetsToTxnRequestData;
import org.apache.kafka.common.message.DeleteRecordsRequestData;
import org.apache.kafka.common.message.DeleteRecordsResponseData;
import org.apache.kafka.common.message.EndTxnRequestData;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.InitProducerIdRequestData;
import org.apache.kafka.common.message.InitProducerIdResponseData;
import org.apache.kafka.common.message.JoinGroupRequestData;
import org.apache.kafka.common.message.JoinGroupResponseData;
import org.apache.kafka.common.message.LeaveGroupRequestData;
import org.apache.kafka.common.message.OffsetCommitRequestData;
import org.apache.kafka.common.message.OffsetFetchRequestData;
import org.apache.kafka.common.message.OffsetFetchResponseData;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.message.SyncGroupRequestData;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.SimpleRecord;
import org.apache.kafka.common.requests.AbstractRequest;
import org.apache.kafka.common.requests.AbstractResponse;
import org.apache.kafka.common.requests.AddOffsetsToTxnRequest;
import org.apache.kafka.common.requests.AddPartitionsToTxnRequest;
import org.apache.kafka.common.requests.DeleteRecordsRequest;
import org.apache.kafka.common.requests.EndTxnRequest;
import org.apache.kafka.common.requests.FetchRequest;
import org.apache.kafka.common.requests.FindCoordinatorRequest;
import org.apache.kafka.common.requests.InitProducerIdRequest;
import org.apache.kafka.common.requests.JoinGroupRequest;
import org.apache.kafka.common.requests.LeaveGroupRequest;
import org.apache.kafka.common.requests.OffsetCommitRequest;
import org.apache.kafka.common.requests.OffsetFetchRequest;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.requests.RequestHeader;
import org.apache.kafka.common.requests.SyncGroupRequest;
import org.apache.kafka.common.requests.TxnOffsetCommitRequest;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Sends single requests of the transaction and the group protocol, one after the other, in the versions
 * that librdkafka 2.12 sends.
 *
 * <p>Usage: {@code Protocol BROKER}, the address of the only broker of a cluster. For every line on
 * standard input, words separated by tabs, it prints one line: the name of the error that the broker
 * answered, NONE where it was none, and what else the answer says. It tries nothing again.
 */
public final class Protocol {
    private static final int ANSWER_MS = 30_000;
    private static final int SESSION_MS = 60_000;

    private final DataOutputStream out;
    private final DataInputStream in;
    private final KafkaConsumer<String, String> reader;
    private int correlation;

    private Protocol(Socket socket, KafkaConsumer<String, String> reader) throws IOException {
        this.reader = reader;
        out = new DataOutputStream(socket.getOutputStream());
        in = new DataInputStream(socket.getInputStream());
    }

    public static void main(String[] args) throws IOException {
        String[] address = args[0].split(":");
        BufferedReader questions =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Map<String, Object> readCommitted =
                Map.of("bootstrap.servers", args[0], "isolation.level", "read_committed");
        StringDeserializer text = new StringDeserializer();
        try (Socket socket = new Socket(address[0], Integer.parseInt(address[1]));
                KafkaConsumer<String, String> reader =
                        new KafkaConsumer<>(readCommitted, text, text)) {
            socket.setTcpNoDelay(true);
            socket.setSoTimeout(ANSWER_MS);
            Protocol protocol = new Protocol(socket, reader);
            for (String line; (line = questions.readLine()) != null; ) {
                System.out.println(protocol.answer(line.split("\t", -1)));
                System.out.flush();
            }
        }
    }

    private String answer(String[] words) throws IOException {
        switch (words[0]) {
            case "coordinator":
                return coordinator(words[1], Byte.parseByte(words[2]));
            case "init":
                return init(words[1], Integer.parseInt(words[2]));
            case "add":
                return add(words);
            case "produce":
                return produce(words);
            case "offsets":
                return offsets(words);
            case "commit_offsets":
                return commitOffsets(words);
            case "end":
                return end(words);
            case "join":
                return join(words[1], words[2]);
            case "leave":
                return leave(words[1], words[2]);
            case "commit":
                return commit(words);
            case "offset":
                return offset(words);
            case "read":
                return read(words[1]);
            case "delete":
                return delete(words[1], Long.parseLong(words[2]));
            case "fetch":
                return fetch(words[1], Long.parseLong(words[2]));
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    /** Makes the broker create the topic behind a coordinator. */
    private String coordinator(String key, byte type) throws IOException {
        FindCoordinatorRequestData data =
                new FindCoordinatorRequestData().setKey(key).setKeyType(type);
        return error(send(new FindCoordinatorRequest.Builder(data).build((short) 2))).name();
    }

    private String init(String transactionalId, int timeoutMs) throws IOException {
        InitProducerIdRequestData data =
                new InitProducerIdRequestData()
                        .setTransactionalId(transactionalId)
                        .setTransactionTimeoutMs(timeoutMs);
        AbstractResponse response =
                send(new InitProducerIdRequest.Builder(data).build((short) 4));
        InitProducerIdResponseData found = (InitProducerIdResponseData) response.data();
        return tabbed(error(response), found.producerId(), found.producerEpoch());
    }

    /** add ID PRODUCER EPOCH TOPIC. */
    private String add(String[] words) throws IOException {
        List<TopicPartition> partitions = List.of(new TopicPartition(words[4], 0));
        AddPartitionsToTxnRequest.Builder builder =
                AddPartitionsToTxnRequest.Builder.forClient(
                        words[1], producer(words), epoch(words), partitions);
        return error(send(builder.build((short) 0))).name();
    }

    /** produce ID PRODUCER EPOCH TOPIC SEQUENCE VALUE. */
    private String produce(String[] words) throws IOException {
        MemoryRecords records =
                MemoryRecords.withTransactionalRecords(
                        Compression.NONE,
                        producer(words),
                        epoch(words),
                        Integer.parseInt(words[5]),
                        new SimpleRecord(0L, null, words[6].getBytes(StandardCharsets.UTF_8)));
        ProduceRequestData.TopicProduceData topic =
                new ProduceRequestData.TopicProduceData()
                        .setName(words[4])
                        .setPartitionData(
                                List.of(
                                        new ProduceRequestData.PartitionProduceData()
                                                .setIndex(0)
                                                .setRecords(records)));
        ProduceRequestData data =
                new ProduceRequestData()
                        .setTransactionalId(words[1])
                        .setAcks((short) -1)
                        .setTimeoutMs(ANSWER_MS);
        data.topicData().add(topic);
        return error(send(new ProduceRequest(data, (short) 10))).name();
    }

    /** offsets ID PRODUCER EPOCH GROUP. */
    private String offsets(String[] words) throws IOException {
        AddOffsetsToTxnRequestData data =
                new AddOffsetsToTxnRequestData()
                        .setTransactionalId(words[1])
                        .setProducerId(producer(words))
                        .setProducerEpoch(epoch(words))
                        .setGroupId(words[4]);
        return error(send(new AddOffsetsToTxnRequest.Builder(data).build((short) 0))).name();
    }

    /** commit_offsets ID PRODUCER EPOCH GROUP MEMBER GENERATION TOPIC OFFSET METADATA. */
    private String commitOffsets(String[] words) throws IOException {
        TxnOffsetCommitRequest.CommittedOffset committed =
                new TxnOffsetCommitRequest.CommittedOffset(
                        Long.parseLong(words[8]), words[9], Optional.empty());
        TxnOffsetCommitRequest.Builder builder =
                new TxnOffsetCommitRequest.Builder(
                        words[1],
                        words[4],
                        producer(words),
                        epoch(words),
                        Map.of(new TopicPartition(words[7], 0), committed),
                        words[5],
                        Integer.parseInt(words[6]),
                        Optional.empty(),
                        false);
        return error(send(builder.build((short) 3))).name();
    }

    /** end ID PRODUCER EPOCH commit|abort. */
    private String end(String[] words) throws IOException {
        EndTxnRequestData data =
                new EndTxnRequestData()
                        .setTransactionalId(words[1])
                        .setProducerId(producer(words))
                        .setProducerEpoch(epoch(words))
                        .setCommitted(words[4].equals("commit"));
        return error(send(new EndTxnRequest.Builder(data, false).build((short) 1))).name();
    }

    /** Joins, or joins again, as the only member and takes the generation that follows. */
    private String join(String group, String member) throws IOException {
        JoinGroupRequestData data =
                new JoinGroupRequestData()
                        .setGroupId(group)
                        .setSessionTimeoutMs(SESSION_MS)
                        .setRebalanceTimeoutMs(SESSION_MS)
                        .setMemberId(member)
                        .setProtocolType("consumer");
        data.protocols()
                .add(
                        new JoinGroupRequestData.JoinGroupRequestProtocol()
                                .setName("range")
                                .setMetadata(new byte[0]));
        AbstractResponse response = send(new JoinGroupRequest.Builder(data).build((short) 5));
        JoinGroupResponseData joined = (JoinGroupResponseData) response.data();
        if (error(response) == Errors.MEMBER_ID_REQUIRED) {
            return join(group, joined.memberId());
        }
        if (error(response) == Errors.NONE) {
            SyncGroupRequestData sync =
                    new SyncGroupRequestData()
                            .setGroupId(group)
                            .setMemberId(joined.memberId())
                            .setGenerationId(joined.generationId());
            Errors synced = error(send(new SyncGroupRequest.Builder(sync).build((short) 3)));
            return tabbed(synced, joined.memberId(), joined.generationId());
        }
        return error(response).name();
    }

    private String leave(String group, String member) throws IOException {
        List<LeaveGroupRequestData.MemberIdentity> members =
                List.of(new LeaveGroupRequestData.MemberIdentity().setMemberId(member));
        return error(send(new LeaveGroupRequest.Builder(group, members).build((short) 3))).name();
    }

    /** commit GROUP MEMBER GENERATION TOPIC OFFSET METADATA: outside of any transaction. */
    private String commit(String[] words) throws IOException {
        OffsetCommitRequestData data =
                new OffsetCommitRequestData()
                        .setGroupId(words[1])
                        .setMemberId(words[2])
                        .setGenerationIdOrMemberEpoch(Integer.parseInt(words[3]))
                        .setTopics(
                                List.of(
                                        new OffsetCommitRequestData.OffsetCommitRequestTopic()
                                                .setName(words[4])
                                                .setPartitions(
                                                        List.of(
                                                                new OffsetCommitRequestData
                                                                                .OffsetCommitRequestPartition()
                                                                        .setPartitionIndex(0)
                                                                        .setCommittedOffset(
                                                                                Long.parseLong(
                                                                                        words[5]))
                                                                        .setCommittedMetadata(
                                                                                words[6])))));
        return error(send(new OffsetCommitRequest(data, (short) 7))).name();
    }

    /** offset GROUP TOPIC stable|any. */
    private String offset(String[] words) throws IOException {
        OffsetFetchRequestData data =
                new OffsetFetchRequestData().setRequireStable(words[3].equals("stable"));
        data.groups()
                .add(
                        new OffsetFetchRequestData.OffsetFetchRequestGroup()
                                .setGroupId(words[1])
                                .setTopics(
                                        List.of(
                                                new OffsetFetchRequestData
                                                                .OffsetFetchRequestTopics()
                                                        .setName(words[2])
                                                        .setPartitionIndexes(List.of(0)))));
        AbstractResponse response =
                send(OffsetFetchRequest.Builder.forTopicNames(data, true).build((short) 9));
        OffsetFetchResponseData found = (OffsetFetchResponseData) response.data();
        OffsetFetchResponseData.OffsetFetchResponsePartitions partition =
                found.groups().get(0).topics().get(0).partitions().get(0);
        return tabbed(
                Errors.forCode(partition.errorCode()),
                partition.committedOffset(),
                partition.metadata());
    }

    /** The last stable offset of a topic's one partition, and the committed records below it. */
    private String read(String topic) {
        TopicPartition partition = new TopicPartition(topic, 0);
        List<TopicPartition> only = List.of(partition);
        reader.assign(only);
        reader.seekToBeginning(only);
        long end = reader.endOffsets(only).get(partition);
        StringBuilder line = new StringBuilder(Errors.NONE.name()).append('\t').append(end);
        while (reader.position(partition) < end) {
            for (ConsumerRecord<String, String> record : reader.poll(Duration.ofMillis(100))) {
                line.append('\t').append(record.offset()).append('=').append(record.value());
            }
        }
        return line.toString();
    }

    /** Deletes what lies below an offset, and says where the log begins then. */
    private String delete(String topic, long offset) throws IOException {
        DeleteRecordsRequestData data =
                new DeleteRecordsRequestData()
                        .setTimeoutMs(ANSWER_MS)
                        .setTopics(
                                List.of(
                                        new DeleteRecordsRequestData.DeleteRecordsTopic()
                                                .setName(topic)
                                                .setPartitions(
                                                        List.of(
                                                                new DeleteRecordsRequestData
                                                                                .DeleteRecordsPartition()
                                                                        .setPartitionIndex(0)
                                                                        .setOffset(offset)))));
        AbstractResponse response = send(new DeleteRecordsRequest.Builder(data).build((short) 2));
        DeleteRecordsResponseData found = (DeleteRecordsResponseData) response.data();
        return tabbed(
                error(response),
                found.topics().find(topic).partitions().find(0).lowWatermark());
    }

    /** Where the log begins, and the last stable offset, as a reader at an offset hears. */
    private String fetch(String topic, long offset) throws IOException {
        FetchRequest.PartitionData from =
                new FetchRequest.PartitionData(
                        Uuid.ZERO_UUID, offset, -1, 1 << 20, Optional.empty());
        FetchRequest.Builder builder =
                FetchRequest.Builder.forConsumer(
                                (short) 12, 0, 0, Map.of(new TopicPartition(topic, 0), from))
                        .isolationLevel(IsolationLevel.READ_COMMITTED);
        AbstractResponse response = send(builder.build((short) 12));
        FetchResponseData found = (FetchResponseData) response.data();
        FetchResponseData.PartitionData partition =
                found.responses().get(0).partitions().get(0);
        return tabbed(error(response), partition.logStartOffset(), partition.lastStableOffset());
    }

    AbstractResponse send(AbstractRequest request) throws IOException {
        RequestHeader header =
                new RequestHeader(request.apiKey(), request.version(), "protocol", ++correlation);
        ByteBuffer bytes = request.serializeWithHeader(header);
        out.writeInt(bytes.remaining());
        out.write(bytes.array(), bytes.arrayOffset() + bytes.position(), bytes.remaining());
        out.flush();
        byte[] answer = new byte[in.readInt()];
        in.readFully(answer);
        return AbstractResponse.parseResponse(ByteBuffer.wrap(answer), header);
    }

    static Errors error(AbstractResponse response) {
        return response.errorCounts().keySet().stream()
                .filter(error -> error != Errors.NONE)
                .findFirst()
                .orElse(Errors.NONE);
    }

    private static long producer(String[] words) {
        return Long.parseLong(words[2]);
    }

    private static short epoch(String[] words) {
        return Short.parseShort(words[3]);
    }

    static String tabbed(Errors error, Object... rest) {
        StringBuilder line = new StringBuilder(error.name());
        for (Object word : rest) {
            line.append('\t').append(word);
        }
        return line.toString();
    }
}
