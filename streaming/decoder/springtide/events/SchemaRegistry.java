// Asks a schema registry for schemas by their numbers and remembers them; speaks Confluent's REST protocol.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.Serializable;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManagerFactory;

import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;

/** Avro schemas by number. A registry that is away is waited for; what it does not know is no event's schema. */
final class SchemaRegistry implements Serializable {
    private static final long serialVersionUID = 1L;
    private static final int TIMEOUT_MS = 5_000;
    // While this waits, nothing of the topic is read; after it the job starts over from its checkpoint.
    private static final long PATIENCE_MS = 60_000;
    private static final long LONGEST_PAUSE_MS = 2_000;
    private static final long UNKNOWN_MS = 60_000;
    private static final int UNKNOWN_KEPT = 10_000;

    private final String url;
    private final String authorization;
    private final String certificates;
    private transient Map<Integer, Schema> known;
    private transient Map<Integer, Long> unknown;
    private transient SSLSocketFactory sockets;

    /**
     * @param authorization the HTTP header of that name, or null.
     * @param certificates PEM text of the authorities that are trusted, or null for Java's own.
     */
    SchemaRegistry(String url, String authorization, String certificates) {
        this.url = url;
        this.authorization = authorization;
        this.certificates = certificates;
    }

    void open() {
        known = new HashMap<>();
        unknown = new LinkedHashMap<>() {
            @Override
            protected boolean removeEldestEntry(Map.Entry<Integer, Long> eldest) {
                return size() > UNKNOWN_KEPT;
            }
        };
    }

    /**
     * The schema with that number.
     *
     * @throws EventReader.Unreadable the registry knows none, or it is no Avro.
     * @throws IOException the registry does not answer, or refuses.
     */
    Schema schema(int number) throws EventReader.Unreadable, IOException {
        Schema found = known.get(number);
        if (found != null) {
            return found;
        }
        Long since = unknown.get(number);
        if (since == null || now() - since > UNKNOWN_MS) {
            try {
                // Defaults are never read; producers in other languages register ones that Java's would refuse.
                Schema.Parser parser = new Schema.Parser().setValidateDefaults(false);
                found = parsed(get("/schemas/ids/" + number), parser, new HashSet<>());
                known.put(number, found);
                unknown.remove(number);
                return found;
            } catch (EventReader.Unreadable no) {
                unknown.remove(number);
                unknown.put(number, now());
            }
        }
        throw new EventReader.Unreadable("no such schema");
    }

    /** Parses a schema behind those that it names, each of them once: the parser takes no name twice. */
    private Schema parsed(JsonNode answer, Schema.Parser parser, Set<String> met)
            throws EventReader.Unreadable, IOException {
        if (!"AVRO".equals(answer.path("schemaType").asText("AVRO"))) {
            throw new EventReader.Unreadable("no Avro");
        }
        for (JsonNode each : answer.path("references")) {
            String subject = URLEncoder.encode(each.path("subject").asText(), StandardCharsets.UTF_8);
            String path = "/subjects/" + subject + "/versions/" + each.path("version").asInt();
            if (met.add(path)) {
                parsed(get(path), parser, met);
            }
        }
        try {
            return parser.parse(answer.path("schema").asText());
        } catch (RuntimeException error) {
            throw new EventReader.Unreadable("no Avro schema");
        }
    }

    private JsonNode get(String path) throws EventReader.Unreadable, IOException {
        long deadline = now() + PATIENCE_MS;
        for (long pause = 100; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
            try {
                return asked(path);
            } catch (IOException error) {
                if (now() + pause > deadline) {
                    throw error;
                }
            }
            try {
                Thread.sleep(pause);
            } catch (InterruptedException stop) {
                Thread.currentThread().interrupt();
                throw new IOException("stopped while asking the schema registry", stop);
            }
        }
    }

    private JsonNode asked(String path) throws EventReader.Unreadable, IOException {
        HttpURLConnection connection = (HttpURLConnection) URI.create(url + path).toURL().openConnection();
        connection.setConnectTimeout(TIMEOUT_MS);
        connection.setReadTimeout(TIMEOUT_MS);
        connection.setRequestProperty("Accept", "application/vnd.schemaregistry.v1+json, application/json");
        if (authorization != null) {
            connection.setRequestProperty("Authorization", authorization);
        }
        if (certificates != null && connection instanceof HttpsURLConnection) {
            ((HttpsURLConnection) connection).setSSLSocketFactory(sockets());
        }
        int status = connection.getResponseCode();
        if (status == HttpURLConnection.HTTP_NOT_FOUND && isRegistrys(connection)) {
            throw new EventReader.Unreadable("the registry does not know it");
        }
        if (status != HttpURLConnection.HTTP_OK) {
            throw new IOException("the schema registry at " + url + " answered " + status + " to " + path);
        }
        try (InputStream answer = connection.getInputStream()) {
            return new ObjectMapper().readTree(answer);
        }
    }

    /** Whether the registry itself has answered: a proxy in front of one that starts says 404 too. */
    private static boolean isRegistrys(HttpURLConnection connection) throws IOException {
        try (InputStream answer = connection.getErrorStream()) {
            return answer != null && new ObjectMapper().readTree(answer).path("error_code").isInt();
        } catch (JsonProcessingException other) {
            return false;
        }
    }

    private SSLSocketFactory sockets() throws IOException {
        if (sockets == null) {
            try {
                KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
                trusted.load(null, null);
                InputStream pem = new ByteArrayInputStream(certificates.getBytes(StandardCharsets.UTF_8));
                for (Certificate each : CertificateFactory.getInstance("X.509").generateCertificates(pem)) {
                    trusted.setCertificateEntry("ca-" + trusted.size(), each);
                }
                TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
                trust.init(trusted);
                SSLContext context = SSLContext.getInstance("TLS");
                context.init(null, trust.getTrustManagers(), null);
                sockets = context.getSocketFactory();
            } catch (GeneralSecurityException error) {
                throw new IOException("the certificates for the schema registry cannot be used", error);
            }
        }
        return sockets;
    }

    private static long now() {
        return System.nanoTime() / 1_000_000;
    }
}
