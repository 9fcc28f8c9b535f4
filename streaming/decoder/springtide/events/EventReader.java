// What every encoding offers: bytes in, columns of a row filled.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.io.IOException;
import java.io.Serializable;

import org.apache.flink.table.data.GenericRowData;

/** Reads one event; never keeps {@code body}. Used by one thread. */
interface EventReader extends Serializable {
    /** The bytes are no event of this encoding, and will not become one by being read again. */
    final class Unreadable extends Exception {
        private static final long serialVersionUID = 1L;

        Unreadable(String why) {
            // Thousands a second may be thrown: no stack trace.
            super(why, null, false, false);
        }
    }

    /** Called once where the events are read. */
    default void open() {}

    /**
     * Fills the columns of {@code row} with the event in {@code body}.
     *
     * @throws Unreadable the bytes are no event.
     * @throws IOException something outside that is needed to read them does not answer.
     */
    void read(byte[] body, GenericRowData row) throws Unreadable, IOException;
}
