// Takes Avro's scalars from a message one after the other; never reads behind its end, nor asks for more than it holds.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** A message and how far it is read. The encoding is that of Avro's specification, "Binary Encoding". */
final class AvroBytes {
    private static final int LONGEST_NUMBER = 10;

    private final byte[] body;
    private int at;
    // Items of arrays and maps so far: an item of no bytes could otherwise be there as often as a number can say.
    private long items;

    AvroBytes(byte[] body) {
        this.body = body;
    }

    /** The registry's number of the schema, behind a zero byte. */
    int schemaNumber() throws EventReader.Unreadable {
        if (body.length < 5 || body[0] != 0) {
            throw new EventReader.Unreadable("no number of a schema");
        }
        at = 5;
        return ByteBuffer.wrap(body, 1, 4).getInt();
    }

    void requireEnd() throws EventReader.Unreadable {
        if (at != body.length) {
            throw new EventReader.Unreadable("more than one value");
        }
    }

    /** An int or long: little ends first, seven bits a byte, the sign in the lowest bit. */
    long number() throws EventReader.Unreadable {
        long value = 0;
        for (int index = 0; index < LONGEST_NUMBER; index++) {
            need(1);
            byte next = body[at++];
            value |= (long) (next & 0x7F) << (7 * index);
            if (next >= 0) {
                return (value >>> 1) ^ -(value & 1);
            }
        }
        throw new EventReader.Unreadable("a number without an end");
    }

    boolean yes() throws EventReader.Unreadable {
        need(1);
        byte value = body[at++];
        if (value != 0 && value != 1) {
            throw new EventReader.Unreadable("neither true nor false");
        }
        return value == 1;
    }

    float single() throws EventReader.Unreadable {
        return fixed(4).getFloat();
    }

    double twofold() throws EventReader.Unreadable {
        return fixed(8).getDouble();
    }

    String text() throws EventReader.Unreadable {
        byte[] bytes = take(number());
        String text = new String(bytes, StandardCharsets.UTF_8);
        if (text.indexOf('\uFFFD') >= 0) {
            try {
                StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes));
            } catch (CharacterCodingException error) {
                throw new EventReader.Unreadable("no UTF-8");
            }
        }
        return text;
    }

    byte[] take(long length) throws EventReader.Unreadable {
        need(length);
        byte[] found = Arrays.copyOfRange(body, at, at + (int) length);
        at += (int) length;
        return found;
    }

    /** How many items of an array or map follow; 0 at its end. */
    long block() throws EventReader.Unreadable {
        long count = number();
        if (count < 0) {
            number(); // the block's length in bytes, for readers that step over it
            count = -count;
        }
        items += count;
        if (count < 0 || items < 0 || items > body.length) {
            throw new EventReader.Unreadable("more items than bytes");
        }
        return count;
    }

    private ByteBuffer fixed(int length) throws EventReader.Unreadable {
        need(length);
        ByteBuffer found = ByteBuffer.wrap(body, at, length).order(ByteOrder.LITTLE_ENDIAN);
        at += length;
        return found;
    }

    private void need(long length) throws EventReader.Unreadable {
        if (length < 0 || length > body.length - at) {
            throw new EventReader.Unreadable("cut short");
        }
    }
}
