// Makes a row of every message, also of one that is no event: those keep nothing but their bytes.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.io.IOException;

import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;

/** No message is dropped and none stops the job; what an unreadable one is worth, the SQL behind decides. */
final class EventDecoder implements DeserializationSchema<RowData> {
    private static final long serialVersionUID = 1L;
    // Larger ones would not fit into a message of the dead letters; they are found by their place.
    private static final int LARGEST_BODY = 4 << 20;

    private final EventReader reader;
    private final TypeInformation<RowData> type;
    private final int width;
    private final int readable;
    private final int body;

    /**
     * @param width columns of a row.
     * @param readable the column that says whether the message is an event; -1 where nobody asks.
     * @param body the column for its bytes; -1 where nobody asks.
     */
    EventDecoder(EventReader reader, TypeInformation<RowData> type, int width, int readable, int body) {
        this.reader = reader;
        this.type = type;
        this.width = width;
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

    @Override
    public boolean isEndOfStream(RowData next) {
        return false;
    }

    @Override
    public TypeInformation<RowData> getProducedType() {
        return type;
    }
}
