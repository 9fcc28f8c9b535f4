// The SQL aggregate that says which earlier rows are nearest to this one in event time; knows no event's meaning.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.util.Arrays;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.functions.AggregateFunction;

/**
 * Of the times that came before this one: the nearest that is not above it, and the nearest above; null where there is
 * none. A time that came before is its own nearest.
 *
 * <p>Whatever span of time holds this row and any earlier one holds one of these two as well.
 */
@FunctionHint(
        output = @DataTypeHint(
                value = "ROW<below TIMESTAMP_LTZ(3), above TIMESTAMP_LTZ(3)>",
                bridgedTo = RowData.class))
public final class Neighbours extends AggregateFunction<RowData, Neighbours.Seen> {
    private static final long serialVersionUID = 1L;
    // A key that is sent for ever must not grow for ever: of a key with so many times, every further one came before.
    private static final int MOST_KEPT = 1000;

    /** Different times, sorted, in ms since 1970, the one that came last, and whether it had come before. */
    public static final class Seen {
        public long[] times = new long[0];
        public long last;
        public boolean again;
    }

    @Override
    public Seen createAccumulator() {
        return new Seen();
    }

    /** Takes the time of one more row. */
    public void accumulate(
            Seen seen, @DataTypeHint(value = "TIMESTAMP_LTZ(3)", bridgedTo = TimestampData.class) TimestampData time) {
        seen.last = time.getMillisecond();
        int at = Arrays.binarySearch(seen.times, seen.last);
        seen.again = at >= 0 || seen.times.length == MOST_KEPT;
        if (seen.again) {
            return;
        }
        long[] longer = Arrays.copyOf(seen.times, seen.times.length + 1);
        System.arraycopy(seen.times, -at - 1, longer, -at, seen.times.length + at + 1);
        longer[-at - 1] = seen.last;
        seen.times = longer;
    }

    @Override
    public RowData getValue(Seen seen) {
        int at = Arrays.binarySearch(seen.times, seen.last);
        TimestampData below = seen.again ? TimestampData.fromEpochMillis(seen.last) : moment(seen.times, at - 1);
        return GenericRowData.of(below, moment(seen.times, at >= 0 ? at + 1 : -at - 1));
    }

    private static TimestampData moment(long[] times, int at) {
        return at < 0 || at >= times.length ? null : TimestampData.fromEpochMillis(times[at]);
    }
}
