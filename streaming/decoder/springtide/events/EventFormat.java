// The format `springtide` of Flink's tables: JSON, Avro or Protobuf, each message one row; knows no SQL behind it.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.RowType;

/**
 * The columns {@code #readable} and {@code #body} say whether a message is an event and what its bytes are; every other
 * column of the table is named in the option {@code columns}.
 */
public final class EventFormat implements DeserializationFormatFactory {
    static final String KEY = "#key";
    static final String READABLE = "#readable";
    static final String BODY = "#body";

    private static final ConfigOption<String> ENCODING = text("encoding");
    // A JSON object: column -> [path, type].
    private static final ConfigOption<String> COLUMNS = text("columns");
    private static final ConfigOption<String> REGISTRY = text("registry.url");
    private static final ConfigOption<String> AUTHORIZATION = text("registry.basic-auth");
    private static final ConfigOption<String> CERTIFICATES = text("registry.certificates");
    private static final ConfigOption<String> DESCRIPTORS = text("descriptors");
    private static final ConfigOption<String> MESSAGE = text("message");
    private static final ConfigOption<Boolean> FRAMED =
            ConfigOptions.key("framed").booleanType().defaultValue(false);

    private static ConfigOption<String> text(String key) {
        return ConfigOptions.key(key).stringType().noDefaultValue();
    }

    @Override
    public String factoryIdentifier() {
        return "springtide";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(ENCODING, COLUMNS);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of(REGISTRY, AUTHORIZATION, CERTIFICATES, DESCRIPTORS, MESSAGE, FRAMED);
    }

    @Override
    public DecodingFormat<DeserializationSchema<RowData>> createDecodingFormat(
            DynamicTableFactory.Context context, ReadableConfig options) {
        FactoryUtil.validateFactoryOptions(this, options);
        return new DecodingFormat<>() {
            @Override
            public DeserializationSchema<RowData> createRuntimeDecoder(
                    DynamicTableSource.Context table, DataType produced) {
                List<String> names = ((RowType) produced.getLogicalType()).getFieldNames();
                return new EventDecoder(
                        reader(options, columns(options.get(COLUMNS), names)),
                        table.createTypeInformation(produced),
                        names.size(),
                        names.indexOf(KEY),
                        names.indexOf(READABLE),
                        names.indexOf(BODY));
            }

            @Override
            public ChangelogMode getChangelogMode() {
                return ChangelogMode.insertOnly();
            }
        };
    }

    private static Columns columns(String option, List<String> names) {
        Map<String, JsonNode> places = new HashMap<>();
        try {
            for (Map.Entry<String, JsonNode> each : new ObjectMapper().readTree(option).properties()) {
                places.put(each.getKey(), each.getValue());
            }
        } catch (IOException error) {
            throw new ValidationException("the option `columns` is no JSON object", error);
        }
        Columns found = new Columns();
        for (int index = 0; index < names.size(); index++) {
            JsonNode place = places.get(names.get(index));
            if (place != null) {
                found.add(place.get(0).asText(), index, ColumnType.valueOf(place.get(1).asText()));
            }
        }
        return found;
    }

    private static EventReader reader(ReadableConfig options, Columns columns) {
        switch (options.get(ENCODING)) {
            case "json":
                return new JsonReader(columns);
            case "avro":
                return new AvroReader(columns, new SchemaRegistry(
                        options.get(REGISTRY), options.get(AUTHORIZATION), options.get(CERTIFICATES)));
            case "protobuf":
                return new ProtobufReader(
                        columns, options.get(DESCRIPTORS), options.get(MESSAGE), options.get(FRAMED));
            default:
                throw new ValidationException("unknown encoding: " + options.get(ENCODING));
        }
    }
}
