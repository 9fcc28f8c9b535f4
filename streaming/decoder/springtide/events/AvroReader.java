// Reads events in Avro's binary encoding, each behind the number of its schema; what is not wanted is stepped over.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.io.IOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;

import org.apache.flink.avro.shaded.org.apache.avro.LogicalType;
import org.apache.flink.avro.shaded.org.apache.avro.LogicalTypes;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.table.data.GenericRowData;

/**
 * Every message is read by the schema with which it was written, and attributes are found by their names. Avro's own
 * readers believe the lengths in a message: a few bytes out of place have them ask for gigabytes.
 */
final class AvroReader implements EventReader {
    private static final long serialVersionUID = 1L;
    // Deeper values are not written, they are bytes that look like it.
    private static final int DEEPEST = 64;

    private final Columns columns;
    private final SchemaRegistry registry;

    AvroReader(Columns columns, SchemaRegistry registry) {
        this.columns = columns;
        this.registry = registry;
    }

    @Override
    public void open() {
        registry.open();
    }

    @Override
    public void read(byte[] body, GenericRowData row) throws Unreadable, IOException {
        AvroBytes bytes = new AvroBytes(body);
        Schema schema = registry.schema(bytes.schemaNumber());
        if (schema.getType() != Schema.Type.RECORD) {
            throw new Unreadable("no record");
        }
        read(schema, columns, bytes, row, 0);
        bytes.requireEnd();
    }

    /** Fills the columns of {@code wanted}, which is null where nothing of the value is. */
    private static void read(Schema schema, Columns wanted, AvroBytes bytes, GenericRowData row, int depth)
            throws Unreadable {
        if (depth > DEEPEST) {
            throw new Unreadable("too deep");
        }
        switch (schema.getType()) {
            case UNION:
                read(branch(schema, bytes), wanted, bytes, row, depth + 1);
                return;
            case RECORD:
                for (Schema.Field field : schema.getFields()) {
                    Columns inside = wanted == null ? null : wanted.inside(field.name());
                    read(field.schema(), inside, bytes, row, depth + 1);
                }
                return;
            case MAP:
                for (long left = bytes.block(); left > 0; left = left > 1 ? left - 1 : bytes.block()) {
                    String name = bytes.text();
                    Columns inside = wanted == null ? null : wanted.inside(name);
                    read(schema.getValueType(), inside, bytes, row, depth + 1);
                }
                return;
            case ARRAY:
                List<Object> items = wanted != null && wanted.isWanted() ? new ArrayList<>() : null;
                for (long left = bytes.block(); left > 0; left = left > 1 ? left - 1 : bytes.block()) {
                    Object item = value(schema.getElementType(), bytes, row, depth + 1);
                    if (items != null) {
                        items.add(item);
                    }
                }
                if (wanted != null) {
                    wanted.fill(row, items);
                }
                return;
            default:
                Object value = scalar(schema, bytes);
                if (wanted != null) {
                    wanted.fill(row, value);
                }
        }
    }

    /** An item of an array: a scalar, or null for what has parts of its own. */
    private static Object value(Schema schema, AvroBytes bytes, GenericRowData row, int depth) throws Unreadable {
        Schema actual = schema.getType() == Schema.Type.UNION ? branch(schema, bytes) : schema;
        switch (actual.getType()) {
            case RECORD:
            case MAP:
            case ARRAY:
                read(actual, null, bytes, row, depth);
                return null;
            default:
                return scalar(actual, bytes);
        }
    }

    private static Schema branch(Schema union, AvroBytes bytes) throws Unreadable {
        long number = bytes.number();
        if (number < 0 || number >= union.getTypes().size()) {
            throw new Unreadable("no such branch");
        }
        return union.getTypes().get((int) number);
    }

    private static Object scalar(Schema schema, AvroBytes bytes) throws Unreadable {
        switch (schema.getType()) {
            case NULL:
                return null;
            case BOOLEAN:
                return bytes.yes();
            case INT:
            case LONG:
                return bytes.number();
            case FLOAT:
                // As its text says it: 0.1 is not 0.10000000149.
                return Double.valueOf(Float.toString(bytes.single()));
            case DOUBLE:
                return bytes.twofold();
            case STRING:
                return bytes.text();
            case ENUM:
                long symbol = bytes.number();
                if (symbol < 0 || symbol >= schema.getEnumSymbols().size()) {
                    throw new Unreadable("no such symbol");
                }
                return schema.getEnumSymbols().get((int) symbol);
            case FIXED:
                return decimal(schema, bytes.take(schema.getFixedSize()));
            case BYTES:
                return decimal(schema, bytes.take(bytes.number()));
            default:
                throw new Unreadable("no such type");
        }
    }

    /** A decimal number; null for any other bytes. */
    private static Object decimal(Schema schema, byte[] unscaled) {
        LogicalType meaning = schema.getLogicalType();
        if (!(meaning instanceof LogicalTypes.Decimal) || unscaled.length == 0 || unscaled.length > DEEPEST) {
            return null;
        }
        return new BigDecimal(new BigInteger(unscaled), ((LogicalTypes.Decimal) meaning).getScale()).doubleValue();
    }
}
