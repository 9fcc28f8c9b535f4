// Reads events that are JSON objects in UTF-8; skips what is not wanted, yet checks the whole text.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.json.JsonReadFeature;
import org.apache.flink.table.data.GenericRowData;

/** JSON; control characters may stand inside strings, which some producers do not escape. */
final class JsonReader implements EventReader {
    private static final long serialVersionUID = 1L;

    private final Columns columns;
    private transient JsonFactory factory;

    JsonReader(Columns columns) {
        this.columns = columns;
    }

    @Override
    public void open() {
        factory = JsonFactory.builder()
                // Names come from whoever writes to the topic: kept for ever, they would fill the memory.
                .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
                .enable(JsonReadFeature.ALLOW_UNESCAPED_CONTROL_CHARS)
                .build();
    }

    @Override
    public void read(byte[] body, GenericRowData row) throws Unreadable {
        // From text, not from bytes: from these the parser would also take UTF-16 and UTF-32.
        try (JsonParser parser = factory.createParser(text(body))) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                throw new Unreadable("no object");
            }
            readObject(parser, columns, row);
            if (parser.nextToken() != null) {
                throw new Unreadable("more than one object");
            }
        } catch (IOException error) {
            throw new Unreadable("no JSON");
        }
    }

    private static String text(byte[] body) throws CharacterCodingException {
        String text = new String(body, StandardCharsets.UTF_8);
        if (text.indexOf('\uFFFD') >= 0) {
            // It stands for what is no UTF-8, unless it was there: this decoder throws, and is slower.
            StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(body));
        }
        return text;
    }

    private static void readObject(JsonParser parser, Columns wanted, GenericRowData row)
            throws IOException, Unreadable {
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            Columns inside = wanted.inside(parser.currentName());
            JsonToken token = parser.nextToken();
            if (inside == null) {
                parser.skipChildren();
                continue;
            }
            if (inside.hasInside()) {
                inside.clear(row);
            }
            if (token == JsonToken.START_OBJECT) {
                inside.fill(row, null);
                readObject(parser, inside, row);
            } else if (token == JsonToken.START_ARRAY) {
                inside.fill(row, list(parser));
            } else {
                inside.fill(row, scalar(parser, token));
            }
        }
    }

    private static List<Object> list(JsonParser parser) throws IOException {
        List<Object> found = new ArrayList<>();
        for (JsonToken token = parser.nextToken(); token != JsonToken.END_ARRAY; token = parser.nextToken()) {
            if (token == null) {
                break;
            }
            found.add(scalar(parser, token));
            parser.skipChildren();
        }
        return found;
    }

    private static Object scalar(JsonParser parser, JsonToken token) throws IOException {
        switch (token) {
            case VALUE_STRING:
                return parser.getText();
            case VALUE_NUMBER_INT:
                return parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER
                        ? parser.getBigIntegerValue()
                        : (Object) parser.getLongValue();
            case VALUE_NUMBER_FLOAT:
                return parser.getDoubleValue();
            case VALUE_TRUE:
                return Boolean.TRUE;
            case VALUE_FALSE:
                return Boolean.FALSE;
            default:
                return null;
        }
    }
}
