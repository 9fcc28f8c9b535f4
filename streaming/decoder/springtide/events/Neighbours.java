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
 * Of the times that came before this one: the next lower one and the next higher one; null where there is none.
 *
 * <p>Whatever span of time holds this row and any earlier one holds one of these two as well.
 */
@FunctionHint(
        output = @DataTypeHint(
                value = "ROW<below TIMESTAMP_LTZ(3), above TIMESTAMP_LTZ(3)>",
                bridgedTo = RowData.class))
public final class Neighbours extends AggregateFunction<RowData, Neighbours.Seen> {
    private static final long serialVersionUID = 1L;
    // A key that is sent for ever must not grow for ever; of so many times the nearest ones kept are near enough.
    private static final int MOST_KEPT = 1000;

    /** Different times, sorted, in ms since 1970, and the one that came last. */
    public static final class Seen {
        public long[] times = new long[0];
        public long last;
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
        if (at >= 0 || seen.times.length == MOST_KEPT) {
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
        int below = (at >= 0 ? at : -at - 1) - 1;
        int above = at >= 0 ? at + 1 : -at - 1;
        return GenericRowData.of(moment(seen.times, below), moment(seen.times, above));
    }

    private static TimestampData moment(long[] times, int at) {
        return at < 0 || at >= times.length ? null : TimestampData.fromEpochMillis(times[at]);
    }
}
