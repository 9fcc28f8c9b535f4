// Which attributes of an event become which columns of a row, as a tree of names; knows no encoding.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

import org.apache.flink.table.data.GenericRowData;

/** One attribute by its name, the columns that it fills, and the attributes inside it. */
final class Columns implements Serializable {
    private static final long serialVersionUID = 1L;

    private final Map<String, Columns> inside = new HashMap<>();
    private final List<Integer> at = new ArrayList<>();
    private final List<ColumnType> types = new ArrayList<>();

    /** Has the attribute at {@code path}, names with dots, fill the column at {@code index} of a row. */
    void add(String path, int index, ColumnType type) {
        Columns found = this;
        for (String name : path.split("\\.")) {
            found = found.inside.computeIfAbsent(name, unknown -> new Columns());
        }
        found.at.add(index);
        found.types.add(type);
    }

    /** What is wanted of the attribute {@code name} in here, or null. */
    Columns inside(String name) {
        return inside.get(name);
    }

    /** The names of all that is wanted in here. */
    Iterable<String> names() {
        return inside.keySet();
    }

    /** Whether anything inside this attribute is wanted. */
    boolean hasInside() {
        return !inside.isEmpty();
    }

    /** Whether the attribute itself is wanted. */
    boolean isWanted() {
        return !at.isEmpty();
    }

    /**
     * Fills the attribute's own columns, each with what its type makes of {@code value}.
     *
     * @param value null, a String, Boolean, Long, BigInteger or Double, an Instant, or a List of such.
     */
    void fill(GenericRowData row, Object value) {
        for (int number = 0; number < at.size(); number++) {
            row.setField(at.get(number), types.get(number).of(value));
        }
    }

    /** Empties all columns of this attribute and those inside it: a name that comes twice means its last value. */
    void clear(GenericRowData row) {
        fill(row, null);
        for (Columns each : inside.values()) {
            each.clear(row);
        }
    }
}
