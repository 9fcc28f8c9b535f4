// Makes a row of every message, also of one that is no event: those keep nothing but their bytes.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.io.IOException;

import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/** No message is dropped and none stops the job; what an unreadable one is worth, the SQL behind decides. */
final class EventDecoder implements DeserializationSchema<RowData> {
    private static final long serialVersionUID = 1L;
    // Larger ones would not fit into a message of the dead letters; they are found by their place.
    private static final int LARGEST_BODY = 4 << 20;
    // A producer sends 16 MiB at most (streaming/topics.py); a larger result would end the job again and again.
    private static final long LARGEST_RESULT = 15L << 20;
    // Whatever is read of it, and however often: it is not worth measuring.
    private static final int ALWAYS_FITS = 64 << 10;

    private final EventReader reader;
    private final TypeInformation<RowData> type;
    private final int width;
    private final int key;
    private final int readable;
    private final int body;

    /**
     * @param width columns of a row.
     * @param key the column that becomes the key of every result, beside the id in it; -1 where there is none.
     * @param readable the column that says whether the message is an event; -1 where nobody asks.
     * @param body the column for its bytes; -1 where nobody asks.
     */
    EventDecoder(EventReader reader, TypeInformation<RowData> type, int width, int key, int readable, int body) {
        this.reader = reader;
        this.type = type;
        this.width = width;
        this.key = key;
        this.readable = readable;
        this.body = body;
    }

    @Override
    public void open(InitializationContext context) {
        reader.open();
    }

    @Override
    public RowData deserialize(byte[] message) throws IOException {
        GenericRowData row = new GenericRowData(width);
        boolean event = false;
        if (message != null) {
            try {
                reader.read(message, row);
                if (message.length > ALWAYS_FITS && largestResult(row, message) > LARGEST_RESULT) {
                    throw new EventReader.Unreadable("no result could hold it");
                }
                event = true;
            } catch (EventReader.Unreadable | RuntimeException | StackOverflowError no) {
                // What had been read of it up to the flaw counts for nothing. Where the flaw is a reader's own, it costs
                // this message, which is kept, and not the stream.
                row = new GenericRowData(width);
            }
        }
        if (readable >= 0) {
            row.setField(readable, event);
        }
        if (body >= 0 && message != null && message.length <= LARGEST_BODY) {
            row.setField(body, message);
        }
        return row;
    }

    /** How many bytes of Kafka's the largest result of a message may have: its sample, or what tells that it was late. */
    private long largestResult(GenericRowData row, byte[] message) {
        long sample = 0;
        for (int index = 0; index < row.getArity(); index++) {
            sample += written(row.getField(index));
        }
        StringData id = key >= 0 ? (StringData) row.getField(key) : null;
        long late = written(id) + (message.length <= LARGEST_BODY ? (message.length + 2) / 3 * 4L : 0);
        return Math.max(sample, late) + (id != null ? id.toBytes().length : 0);
    }

    private static long written(Object value) {
        if (value instanceof StringData) {
            long found = 3;
            for (byte each : ((StringData) value).toBytes()) {
                found += each >= 0 && each < ' ' ? 6 : each == '"' || each == '\\' ? 2 : 1;
            }
            return found;
        }
        if (value instanceof GenericArrayData) {
            long found = 2;
            for (Object each : ((GenericArrayData) value).toObjectArray()) {
                found += written(each);
            }
            return found;
        }
        // The longest number, and a comma.
        return 25;
    }

    @Override
    public boolean isEndOfStream(RowData next) {
        return false;
    }

    @Override
    public TypeInformation<RowData> getProducedType() {
        return type;
    }
}
