// Reads a time as events bear it: ISO-8601 in UTC, with or without seconds and their fraction.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.time.LocalDate;
import java.time.YearMonth;

/** Times from 1970 to 9999, such as 2026-01-31T12:30:00.125Z. */
final class IsoTime {
    private static final long DAY_MS = 86_400_000L;
    private static final int MINUTES_END = 16;
    private static final int SECONDS_END = 19;
    private static final int LONGEST = 30;

    private IsoTime() {}

    /** Milliseconds since 1970, a finer fraction cut off; null where {@code text} is no such time or no such day. */
    static Long milliseconds(String text) {
        int end = text.length() - 1;
        if (end < MINUTES_END || end >= LONGEST || text.charAt(end) != 'Z') {
            return null;
        }
        boolean shaped = text.charAt(4) == '-' && text.charAt(7) == '-' && text.charAt(10) == 'T'
                && text.charAt(13) == ':';
        int year = digits(text, 0, 4);
        int month = digits(text, 5, 7);
        int day = digits(text, 8, 10);
        int hour = digits(text, 11, 13);
        int minute = digits(text, 14, MINUTES_END);
        int second = 0;
        int fraction = 0;
        if (end > MINUTES_END) {
            shaped &= text.charAt(MINUTES_END) == ':' && end >= SECONDS_END;
            second = shaped ? digits(text, 17, SECONDS_END) : -1;
        }
        if (shaped && end > SECONDS_END) {
            shaped = text.charAt(SECONDS_END) == '.' && end > SECONDS_END + 1;
            fraction = fraction(text, SECONDS_END + 1, end);
        }
        boolean day24 = hour == 24 && minute == 0 && second == 0 && fraction == 0;
        if (!shaped || year < 1970 || month < 1 || month > 12 || day < 1 || minute < 0 || minute > 59
                || second < 0 || second > 59 || fraction < 0 || hour < 0 || (hour > 23 && !day24)
                || day > YearMonth.of(year, month).lengthOfMonth()) {
            return null;
        }
        long seconds = (hour * 60L + minute) * 60 + second;
        return LocalDate.of(year, month, day).toEpochDay() * DAY_MS + seconds * 1000 + fraction;
    }

    private static int digits(String text, int from, int to) {
        int value = 0;
        for (int at = from; at < to; at++) {
            char digit = text.charAt(at);
            if (digit < '0' || digit > '9') {
                return -1;
            }
            value = value * 10 + (digit - '0');
        }
        return value;
    }

    private static int fraction(String text, int from, int to) {
        int value = 0;
        for (int at = from; at < Math.max(to, from + 3); at++) {
            char digit = at < to ? text.charAt(at) : '0';
            if (digit < '0' || digit > '9') {
                return -1;
            }
            value = at < from + 3 ? value * 10 + (digit - '0') : value;
        }
        return value;
    }
}
