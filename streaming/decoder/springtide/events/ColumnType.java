// What a column holds, and what it makes of a value of another type: the value if nothing is lost, else null.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.math.BigDecimal;
import java.time.Instant;
import java.util.List;

import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;

/** The types of the columns of an event; every result is a value of Flink's internal row format. */
enum ColumnType {
    STRING {
        @Override
        Object of(Object value) {
            return value == null || value instanceof List ? null : StringData.fromString(value.toString());
        }
    },
    INTEGER {
        @Override
        Object of(Object value) {
            if (value instanceof Double) {
                double number = (Double) value;
                return number == Math.rint(number) && Math.abs(number) <= EXACT ? (Object) (long) number : null;
            }
            return value instanceof String ? integer(((String) value).trim()) : value instanceof Long ? value : null;
        }
    },
    NUMBER {
        @Override
        Object of(Object value) {
            Double number = number(value);
            return number != null && Double.isFinite(number) ? number : null;
        }
    },
    BOOLEAN {
        @Override
        Object of(Object value) {
            if (value instanceof Boolean) {
                return value;
            }
            boolean yes = "true".equals(value);
            return yes || "false".equals(value) ? (Object) yes : null;
        }
    },
    STRINGS {
        @Override
        Object of(Object value) {
            return all(STRING, value);
        }
    },
    INTEGERS {
        @Override
        Object of(Object value) {
            return all(INTEGER, value);
        }
    },
    ISO8601 {
        @Override
        Object of(Object value) {
            if (value instanceof Instant) {
                return moment(((Instant) value).toEpochMilli());
            }
            Long milliseconds = value instanceof String ? IsoTime.milliseconds((String) value) : null;
            return milliseconds != null ? moment(milliseconds) : null;
        }
    },
    SECONDS {
        @Override
        Object of(Object value) {
            return sinceEpoch(value, 1000.0);
        }
    },
    MILLISECONDS {
        @Override
        Object of(Object value) {
            return sinceEpoch(value, 1.0);
        }
    },
    MICROSECONDS {
        @Override
        Object of(Object value) {
            return sinceEpoch(value, 0.001);
        }
    };

    // Beyond this a double does not tell two neighbouring integers apart.
    private static final double EXACT = 1L << 53;
    // No producer writes a longer one, and reading it takes the square of its length.
    private static final int LONGEST_NUMBER = 400;
    // The end of the year 9999.
    private static final double LATEST_MS = 253402300799999.0;

    /** What the column holds for {@code value}; null where it cannot hold it. */
    abstract Object of(Object value);

    private static Object all(ColumnType type, Object value) {
        if (!(value instanceof List)) {
            return null;
        }
        return new GenericArrayData(((List<?>) value).stream().map(type::of).toArray());
    }

    private static Long integer(String text) {
        try {
            return Long.valueOf(text);
        } catch (NumberFormatException no) {
            return null;
        }
    }

    private static Double number(Object value) {
        if (value instanceof Number) {
            return ((Number) value).doubleValue();
        }
        if (!(value instanceof String)) {
            return null;
        }
        String text = ((String) value).trim();
        if (text.length() > LONGEST_NUMBER) {
            return null;
        }
        try {
            return new BigDecimal(text).doubleValue();
        } catch (NumberFormatException no) {
            return null;
        }
    }

    private static Object sinceEpoch(Object value, double factor) {
        Double number = number(value);
        // Zero is no time, but one that was not set.
        if (number == null || !(number > 0 && number * factor <= LATEST_MS)) {
            return null;
        }
        return moment(Math.round(number * factor));
    }

    private static TimestampData moment(long milliseconds) {
        return TimestampData.fromEpochMillis(milliseconds);
    }
}
