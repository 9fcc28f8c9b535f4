// JSON's bytes as they are put together: texts, whole numbers and times; knows no object.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.nio.charset.StandardCharsets;
import java.time.LocalDate;
import java.util.Arrays;

/** A buffer that grows. */
final class JsonBytes {
    private static final byte[] HEXADECIMAL = "0123456789ABCDEF".getBytes(StandardCharsets.ISO_8859_1);
    private static final long DAY_MS = 86_400_000L;
    // "12:30:00.125Z", and the quote behind it.
    private static final int TIME = 14;
    private static final int LONGEST_INTEGER = 20;

    private byte[] bytes;
    private int size;
    // Most times of a stream are of one day.
    private long day = Long.MIN_VALUE;
    private byte[] date = new byte[0];

    JsonBytes(int capacity) {
        bytes = new byte[capacity];
    }

    int capacity() {
        return bytes.length;
    }

    void clear() {
        size = 0;
    }

    byte[] copy() {
        return Arrays.copyOf(bytes, size);
    }

    void raw(byte value) {
        reserve(1);
        bytes[size++] = value;
    }

    void raw(byte[] values) {
        reserve(values.length);
        System.arraycopy(values, 0, bytes, size, values.length);
        size += values.length;
    }

    /** A text in quotes, from its UTF-8. */
    void text(byte[] utf8) {
        raw((byte) '"');
        int from = 0;
        for (int at = 0; at < utf8.length; at++) {
            byte each = utf8[at];
            if (each >= 0 && each < ' ' || each == '"' || each == '\\') {
                part(utf8, from, at);
                escaped(each);
                from = at + 1;
            }
        }
        part(utf8, from, utf8.length);
        raw((byte) '"');
    }

    void integer(long value) {
        if (value == Long.MIN_VALUE) {
            raw(Long.toString(value).getBytes(StandardCharsets.ISO_8859_1));
            return;
        }
        reserve(LONGEST_INTEGER);
        if (value < 0) {
            bytes[size++] = '-';
        }
        long rest = Math.abs(value);
        int length = 1;
        for (long bound = 10; length < LONGEST_INTEGER - 1 && rest >= bound; bound *= 10) {
            length++;
        }
        digits(rest, length);
    }

    /** A time in quotes: ISO-8601 in UTC with milliseconds. */
    void time(long milliseconds) {
        long today = Math.floorDiv(milliseconds, DAY_MS);
        if (today != day) {
            day = today;
            date = (LocalDate.ofEpochDay(today) + "T").getBytes(StandardCharsets.ISO_8859_1);
        }
        int rest = (int) Math.floorMod(milliseconds, DAY_MS);
        raw((byte) '"');
        raw(date);
        reserve(TIME);
        digits(rest / 3_600_000, 2);
        bytes[size++] = ':';
        digits(rest / 60_000 % 60, 2);
        bytes[size++] = ':';
        digits(rest / 1000 % 60, 2);
        bytes[size++] = '.';
        digits(rest % 1000, 3);
        bytes[size++] = 'Z';
        bytes[size++] = '"';
    }

    private void digits(long value, int length) {
        long rest = value;
        for (int at = size + length - 1; at >= size; at--) {
            bytes[at] = (byte) ('0' + rest % 10);
            rest /= 10;
        }
        size += length;
    }

    private void part(byte[] values, int from, int to) {
        reserve(to - from);
        System.arraycopy(values, from, bytes, size, to - from);
        size += to - from;
    }

    private void escaped(byte each) {
        raw((byte) '\\');
        switch (each) {
            case '"':
            case '\\':
                raw(each);
                break;
            case '\n':
                raw((byte) 'n');
                break;
            case '\r':
                raw((byte) 'r');
                break;
            case '\t':
                raw((byte) 't');
                break;
            default:
                raw((byte) 'u');
                raw((byte) '0');
                raw((byte) '0');
                raw(HEXADECIMAL[each >> 4]);
                raw(HEXADECIMAL[each & 15]);
        }
    }

    private void reserve(int more) {
        if (bytes.length - size < more) {
            bytes = Arrays.copyOf(bytes, Math.max(2 * bytes.length, size + more));
        }
    }
}
