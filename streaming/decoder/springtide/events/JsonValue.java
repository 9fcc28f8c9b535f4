// How a value of each of Flink's types is written in JSON; knows no names.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.function.BiFunction;

import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.logical.ArrayType;
import org.apache.flink.table.types.logical.LogicalType;

/** The types of the columns of a result. */
enum JsonValue {
    TEXT {
        @Override
        void some(Object value, JsonBytes out) {
            out.text(((StringData) value).toBytes());
        }
    },
    INTEGER {
        @Override
        void some(Object value, JsonBytes out) {
            out.integer(((Number) value).longValue());
        }
    },
    NUMBER {
        @Override
        void some(Object value, JsonBytes out) {
            // Neither the decoder nor SQL makes one that is not finite: JSON could not hold it.
            out.raw(value.toString().getBytes(StandardCharsets.ISO_8859_1));
        }
    },
    BOOLEAN {
        @Override
        void some(Object value, JsonBytes out) {
            out.raw((Boolean) value ? TRUE : FALSE);
        }
    },
    TIME {
        @Override
        void some(Object value, JsonBytes out) {
            out.time(((TimestampData) value).getMillisecond());
        }
    },
    BYTES {
        @Override
        void some(Object value, JsonBytes out) {
            out.raw((byte) '"');
            out.raw(Base64.getEncoder().encode((byte[]) value));
            out.raw((byte) '"');
        }
    },
    TEXTS {
        @Override
        void some(Object value, JsonBytes out) {
            array((ArrayData) value, TEXT, ArrayData::getString, out);
        }
    },
    INTEGERS {
        @Override
        void some(Object value, JsonBytes out) {
            array((ArrayData) value, INTEGER, ArrayData::getLong, out);
        }
    };

    private static final byte[] NULL = "null".getBytes(StandardCharsets.ISO_8859_1);
    private static final byte[] TRUE = "true".getBytes(StandardCharsets.ISO_8859_1);
    private static final byte[] FALSE = "false".getBytes(StandardCharsets.ISO_8859_1);

    /** Writes a value as Flink holds it, or null. */
    final void write(Object value, JsonBytes out) {
        if (value == null) {
            out.raw(NULL);
        } else {
            some(value, out);
        }
    }

    abstract void some(Object value, JsonBytes out);

    private static void array(ArrayData array, JsonValue kind, BiFunction<ArrayData, Integer, Object> get, JsonBytes out) {
        for (int index = 0; index < array.size(); index++) {
            out.raw((byte) (index == 0 ? '[' : ','));
            kind.write(array.isNullAt(index) ? null : get.apply(array, index), out);
        }
        if (array.size() == 0) {
            out.raw((byte) '[');
        }
        out.raw((byte) ']');
    }

    /** How values of {@code type} are written. */
    static JsonValue of(LogicalType type) {
        switch (type.getTypeRoot()) {
            case CHAR:
            case VARCHAR:
                return TEXT;
            case TINYINT:
            case SMALLINT:
            case INTEGER:
            case BIGINT:
                return INTEGER;
            case FLOAT:
            case DOUBLE:
                return NUMBER;
            case BOOLEAN:
                return BOOLEAN;
            case TIMESTAMP_WITH_LOCAL_TIME_ZONE:
                return TIME;
            case BINARY:
            case VARBINARY:
                return BYTES;
            case ARRAY:
                JsonValue element = of(((ArrayType) type).getElementType());
                if (element == TEXT) {
                    return TEXTS;
                }
                if (element == INTEGER) {
                    return INTEGERS;
                }
                break;
            default:
                break;
        }
        throw new ValidationException("no result holds a value of type " + type);
    }
}
