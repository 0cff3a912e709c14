// Random messages of every kind and version that Kafka's jars have, serialized by Kafka's own classes:
//
//   java -cp 'LIBS/*' Differential.java LIBS EXCLUDED SEED COUNT TAG OUT
//
// Each definition in the jars (JSON) says which fields a version has; they are filled by reflection, COUNT times: first
// with defaults, then with nulls and empty things, then with extremes, then at random. Unknown tagged fields get tags from TAG on. OUT gets, for each: length of
// the name (int16), the definition's name, version (int16), length (int32), bytes. For each API and version also a
// record named "@header": key, version, version of the request's header, of the response's (int16 each).
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedOutputStream;
import java.io.DataOutputStream;
import java.io.File;
import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.RawTaggedField;

public class Differential {
    static Random random;
    static int mode;  // 0 defaults, 1 null and empty, 2 extremes, else random
    static JsonNode definition;
    static Class<?> outer;
    static short version;
    static boolean flexible;
    static int firstUnknownTag;

    public static void main(String[] args) throws Exception {
        String libs = args[0];
        Set<String> excluded = new HashSet<>();
        String kafka = Path.of(libs).toAbsolutePath().normalize().getParent().getFileName().toString();
        for (String line : Files.readAllLines(Path.of(args[1]))) {
            String name = line.split(" ")[0];
            if (!line.isEmpty() && !line.startsWith("#")) excluded.add(name.replace("@" + kafka, ""));
        }
        long seed = Long.parseLong(args[2]);
        int count = Integer.parseInt(args[3]);
        firstUnknownTag = Integer.parseInt(args[4]);
        long written = 0;
        try (DataOutputStream out = new DataOutputStream(new BufferedOutputStream(Files.newOutputStream(Path.of(args[5])), 1 << 20))) {
            Map<String, JsonNode> definitions = new TreeMap<>();
            Map<String, String> classes = new HashMap<>();
            scan(libs, definitions, classes);
            for (Map.Entry<String, JsonNode> e : definitions.entrySet()) {
                String valid = e.getValue().get("validVersions").asText();
                if (excluded.contains(e.getKey()) || valid.equals("none")) continue;
                definition = e.getValue();
                outer = Class.forName(classes.get(className(definition)));
                for (int v = low(valid); v <= high(valid, Short.MAX_VALUE); ++v) {
                    version = (short) v;
                    flexible = has(definition.get("flexibleVersions"), v);
                    for (int i = 0; i < count; ++i) {
                        random = new Random(seed * 1000003 + e.getKey().hashCode() * 31L + v * 1009L + i);
                        mode = i;
                        write(out, e.getKey(), message());
                        ++written;
                    }
                }
            }
            for (ApiKeys api : ApiKeys.values()) {
                String request = className(api);
                if (excluded.contains(request)) continue;
                for (int v = api.oldestVersion(); v <= api.latestVersion(true); ++v) {
                    ByteBuffer row = ByteBuffer.allocate(8).putShort(api.id).putShort((short) v)
                        .putShort(api.requestHeaderVersion((short) v)).putShort(api.responseHeaderVersion((short) v));
                    record(out, "@header", (short) v, row.array());
                    ++written;
                }
            }
        }
        System.out.println("Kafka " + kafka + ": wrote " + written + " messages, seed " + seed);
    }

    static String className(ApiKeys api) {
        return api.messageType.requestSchemas().length == 0 ? "" : api.messageType.newRequest().getClass().getSimpleName().replaceAll("Data$", "");
    }

    static String className(JsonNode d) {
        String type = d.get("type").asText();
        return d.get("name").asText() + (Set.of("request", "response", "header").contains(type) ? "Data" : "");
    }

    static void scan(String libs, Map<String, JsonNode> definitions, Map<String, String> classes) throws Exception {
        ObjectMapper json = new ObjectMapper().enable(JsonParser.Feature.ALLOW_COMMENTS);
        File[] jars = new File(libs).listFiles((dir, name) -> name.startsWith("kafka") && name.endsWith(".jar"));
        Arrays.sort(jars);
        for (File file : jars) {
            try (JarFile jar = new JarFile(file)) {
                for (JarEntry entry : (Iterable<JarEntry>) jar.stream()::iterator) {
                    String name = entry.getName();
                    if (name.matches("(common/)?message/[A-Za-z]+\\.json")) {
                        JsonNode d = json.readTree(jar.getInputStream(entry));
                        definitions.put(d.get("name").asText(), d);
                    } else if (name.matches("org/apache/kafka/.*/(message|generated)/[A-Za-z]+\\.class")) {
                        String c = name.substring(0, name.length() - 6).replace('/', '.');
                        classes.put(c.substring(c.lastIndexOf('.') + 1), c);
                    }
                }
            }
        }
    }

    static int low(String versions) {
        return Integer.parseInt(versions.replaceAll("[-+].*", ""));
    }

    static int high(String versions, int latest) {
        return versions.endsWith("+") ? latest : Integer.parseInt(versions.replaceAll(".*-", ""));
    }

    static boolean has(JsonNode versions, int v) {
        if (versions == null || versions.asText().equals("none")) return false;
        return v >= low(versions.asText()) && v <= high(versions.asText(), Short.MAX_VALUE);
    }

    static Message message() throws Exception {
        Message m = (Message) outer.getDeclaredConstructor().newInstance();
        fill(m, definition.get("fields"));
        return m;
    }

    static void write(DataOutputStream out, String name, Message m) throws Exception {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        int size = m.size(cache, version);
        ByteBuffer buffer = ByteBuffer.allocate(size);
        m.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) throw new IllegalStateException(name + " " + version + ": size " + size + " is wrong");
        // A coordinator's key of 4.x has its number apart; in a record it stands where the version would.
        short shown = definition.get("type").asText().equals("coordinator-key") ? ((ApiMessage) m).apiKey() : version;
        record(out, name, shown, buffer.array());
    }

    static void record(DataOutputStream out, String name, short shown, byte[] data) throws Exception {
        byte[] text = name.getBytes(StandardCharsets.UTF_8);
        out.writeShort(text.length);
        out.write(text);
        out.writeShort(shown);
        out.writeInt(data.length);
        out.write(data);
    }

    static void fill(Object o, JsonNode fields) throws Exception {
        Set<Integer> known = new HashSet<>();
        for (JsonNode f : fields) {
            boolean tagged = has(f.get("taggedVersions"), version);
            if (tagged) known.add(f.get("tag").asInt());
            if (!(f.has("versions") ? has(f.get("versions"), version) : tagged)) continue;
            String name = f.get("name").asText();
            Field field = o.getClass().getDeclaredField(name.substring(0, 1).toLowerCase() + name.substring(1));
            field.setAccessible(true);
            boolean nullable = has(f.get("nullableVersions"), version);
            boolean nullHere = field.get(o) == null && !nullable;
            if (mode == 0 && !nullHere && !(field.get(o) instanceof Message)) continue;
            if (tagged && mode > 2 && random.nextInt(3) == 0) continue;
            field.set(o, value(field, f, nullable));
        }
        if (flexible && mode > 1 && random.nextInt(3) == 0) {
            List<RawTaggedField> unknown = ((Message) o).unknownTaggedFields();
            int tag = firstUnknownTag + random.nextInt(3);
            for (int n = random.nextInt(4); n > 0; --n) {
                while (known.contains(tag)) ++tag;
                unknown.add(new RawTaggedField(tag, bytes()));
                tag += 1 + (random.nextInt(4) == 0 ? random.nextInt(1 << 20) : random.nextInt(4));
            }
        }
    }

    static Object value(Field field, JsonNode f, boolean nullable) throws Exception {
        if (nullable && (mode == 1 || (mode > 2 && random.nextInt(4) == 0))) return null;
        String type = f.get("type").asText();
        if (type.startsWith("[]")) return array(field, f, type.substring(2));
        return one(field.getType(), f, type);
    }

    @SuppressWarnings("unchecked")
    static Object array(Field field, JsonNode f, String element) throws Exception {
        Collection<Object> to = List.class.isAssignableFrom(field.getType())
            ? new ArrayList<>() : (Collection<Object>) field.getType().getDeclaredConstructor().newInstance();
        boolean struct = Character.isUpperCase(element.charAt(0));
        int n = mode <= 1 ? 0 : !struct && random.nextInt(20) == 0 ? 100 + random.nextInt(100) : random.nextInt(4);
        Class<?> boxed = Map.<String, Class<?>>of("int8", Byte.class, "int16", Short.class, "int32", Integer.class,
            "int64", Long.class).getOrDefault(element, Object.class);
        for (int i = 0; i < n; ++i) to.add(one(boxed, f, element));
        return to;
    }

    static Object one(Class<?> javaType, JsonNode f, String type) throws Exception {
        switch (type) {
            case "bool": return mode == 2 || mode > 2 && random.nextBoolean();
            case "int8": return (byte) number(8);
            case "int16": return (short) number(16);
            case "uint16": return (int) (number(16) & 0xffff);
            case "int32": return (int) number(32);
            case "uint32": return number(32) & 0xffffffffL;
            case "int64": return number(64);
            case "float64": return Double.longBitsToDouble(random.nextLong() & ~(1L << 62));
            case "uuid": return mode == 1 ? Uuid.ZERO_UUID : new Uuid(random.nextLong(), random.nextLong());
            case "string": return text();
            case "bytes": return javaType == ByteBuffer.class ? ByteBuffer.wrap(bytes()) : bytes();
            case "records": return records(ByteBuffer.wrap(bytes()));
            default: break;
        }
        Object o = Class.forName(outer.getName() + "$" + type).getDeclaredConstructor().newInstance();
        JsonNode fields = f.get("fields");
        if (fields == null) {
            for (JsonNode s : definition.get("commonStructs")) {
                if (s.get("name").asText().equals(type)) fields = s.get("fields");
            }
        }
        fill(o, fields);
        return o;
    }

    // Its package is another one from 4.2 on.
    static Object records(ByteBuffer data) throws Exception {
        Class<?> c;
        try {
            c = Class.forName("org.apache.kafka.common.record.MemoryRecords");
        } catch (ClassNotFoundException e) {
            c = Class.forName("org.apache.kafka.common.record.internal.MemoryRecords");
        }
        return c.getMethod("readableRecords", ByteBuffer.class).invoke(null, data);
    }

    static long number(int bits) {
        long most = bits == 64 ? Long.MAX_VALUE : (1L << (bits - 1)) - 1;
        if (mode == 1) return 0;
        if (mode == 2) return random.nextBoolean() ? most : -most - 1;
        switch (random.nextInt(5)) {
            case 0: return 0;
            case 1: return -1;
            case 2: return random.nextInt(100);
            default: return random.nextLong() & most;
        }
    }

    static String text() {
        if (mode == 1) return "";
        int n = mode == 2 || random.nextInt(400) == 0 ? 32767 : random.nextInt(8) == 0 ? 120 + random.nextInt(20) : random.nextInt(12);
        if (mode == 2 && random.nextInt(4) != 0) n = 126 + random.nextInt(4);
        StringBuilder out = new StringBuilder();
        boolean ascii = random.nextInt(4) != 0;
        while (n > 0) {
            int c = ascii || n < 4 ? 32 + random.nextInt(95) : new int[] {0xe9, 0x4e16, 0x1f600, 'a'}[random.nextInt(4)];
            out.appendCodePoint(c);
            n -= c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        }
        return out.toString();
    }

    static byte[] bytes() {
        if (mode == 1) return new byte[0];
        byte[] out = new byte[random.nextInt(10) == 0 ? random.nextInt(20000) : random.nextInt(40)];
        random.nextBytes(out);
        return out;
    }
}
